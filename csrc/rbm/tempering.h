// Parallel tempering: chains at several temperatures of a path (rbm/path.h) that exchange their states, so that what
// the hottest find, which forget at once, comes down to the coldest. G. Desjardins et al., "Tempered Markov chain Monte
// Carlo for training of restricted Boltzmann machines", AISTATS 2010.
#pragma once
#include "rbm/path.h"
#include "rbm/programme.h"

namespace unsupfast {

class Tempering {
  public:
    // Of the machine's chains: as many blocks of rows as temperatures. All it needs is made here.
    Tempering(Rbm& r, const TrainOptions& options);
    // Takes over the machine's present biases.
    void follow();
    // The chains' hidden states to visible ones at all temperatures, exchanges between neighbouring ones (pairs that
    // begin at even temperatures or at odd ones), and hidden states again. mean (of the coldest) may be null.
    void sweep(const Clock& clock, uint64_t step, bool odd, void* mean);
    const States& visible() const { return visible_; }
    int64_t coldest() const { return (levels_ - 1) * chains_; }  // its first row
    // Adds the exchanges made and tried to those the machine has counted.
    void report() const;

  private:
    // out (levels x n) = b_t x + (1 - b_t) base; base may be null: 0
    void interpolate(int64_t n, const Array& x, const Array* base, const Array& out);
    char* at(const Array& x, int64_t i) const { return x.as<char>() + i * element_size(x.dtype()); }

    Rbm& r_;
    const int64_t levels_, chains_;
    const std::vector<double> temperatures_;
    Path path_;
    Array betas_, rest_;                           // b_t and 1 - b_t
    Array visible_biases_, hidden_biases_, part_;  // a row a temperature
    Array visible_fields_, hidden_fields_;         // a row a chain
    Array log_z_, log_ratio_;                      // a number a chain
    Array tally_;                                  // 64-bit integers: exchanges made and tried
    States visible_;
};

}  // namespace unsupfast

// Checks and times GibbsChain on a GPU, without Python:
//   nvcc -gencode=arch=compute_90a,code=sm_90a -std=c++20 -O3 -I csrc bench/cuda/chain_check.cu \
//       csrc/kernels/chain/cuda.cu -cudart static -o chain_check
//   chain_check [NEAR FAR CHAINS FORMAT]     one size; without arguments a timing of the usual ones
// Every draw is compared with loops in double precision from the states that the GPU started from.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>
#include <vector>

#include "cuda/error.h"
#include "kernels/chain/op.h"
#include "kernels/gemm/ref.h"
#include "philox.h"

using namespace unsupfast;

namespace {

void check(cudaError_t e, const char* what) {
    if (e == cudaSuccess) return;
    std::printf("FAIL %s: %s\n", what, cudaGetErrorString(e));
    std::exit(1);
}

template <class T>
T* to_gpu(const std::vector<T>& x) {
    T* p = nullptr;
    check(cudaMalloc(&p, std::max<size_t>(1, x.size()) * sizeof(T)), "malloc");
    check(cudaMemcpy(p, x.data(), x.size() * sizeof(T), cudaMemcpyHostToDevice), "copy");
    return p;
}
template <class T>
std::vector<T> to_host(const T* p, size_t n) {
    std::vector<T> x(n);
    check(cudaMemcpy(x.data(), p, n * sizeof(T), cudaMemcpyDeviceToHost), "copy back");
    return x;
}

void* scratch(int slot, size_t bytes) {
    static void* buffers[16];
    static size_t sizes[16];
    if (sizes[slot] < bytes) {
        check(cudaMalloc(&buffers[slot], bytes), "scratch");
        sizes[slot] = bytes;
    }
    return buffers[slot];
}

struct Machine {
    int64_t m, near, far;
    DType format;
    std::vector<float> w, a, b, base;  // w: near x far, as it was rounded
    std::vector<uint32_t> start;
    void *to_far, *to_near;
    float *near_bias, *far_bias, *base_bias;

    Machine(int64_t m, int64_t near, int64_t far, DType format, unsigned seed)
        : m(m), near(near), far(far), format(format), w(size_t(near * far)), start(size_t(m * bit_words(near))) {
        std::mt19937 rng(seed);
        std::normal_distribution<float> normal;
        for (float& x : w) {
            x = normal(rng) * 2 / std::sqrt(float(near + far) / 2);
            if (format == DType::bf16) x = ref::from_bf16(ref::to_bf16(x));
        }
        for (auto* v : {&a, &base}) v->resize(size_t(near));
        b.resize(size_t(far));
        for (auto* v : {&a, &b, &base})
            for (float& x : *v) x = normal(rng);
        for (int64_t i = 0; i < m; ++i)
            for (int64_t j = 0; j < near; ++j)
                start[size_t(i * bit_words(near) + j / 32)] |= uint32_t(rng() & 1) << j % 32;
        std::vector<char> far_panels(size_t(panel_elements(format, near, far) * element_size(format))),
            near_panels(size_t(panel_elements(format, far, near) * element_size(format)));
        ref::fill_panels<float>(near, far, format, far_panels.data(),
                                [&](int64_t i, int64_t j) { return w[size_t(i * far + j)]; });
        ref::fill_panels<float>(far, near, format, near_panels.data(),
                                [&](int64_t i, int64_t j) { return w[size_t(j * far + i)]; });
        to_far = to_gpu(far_panels);
        to_near = to_gpu(near_panels);
        near_bias = to_gpu(a);
        far_bias = to_gpu(b);
        base_bias = to_gpu(base);
    }
    GibbsChain op(int64_t steps, uint32_t first_step) const {
        GibbsChain p{};
        p.m = m;
        p.near = near;
        p.far = far;
        p.steps = steps;
        p.to_far = to_far;
        p.to_near = to_near;
        p.near_bias = near_bias;
        p.far_bias = far_bias;
        p.seed = 0x123456789abcdefull;
        p.first_step = first_step;
        p.near_stream = 1;
        p.far_stream = 2;
        p.first_row = 77;
        p.dtype = DType::f32;
        p.format = format;
        return p;
    }
    double weight(bool to_near_layer, int64_t i, int64_t j) const {
        return to_near_layer ? w[size_t(j * far + i)] : w[size_t(i * far + j)];
    }
};

bool bit(const std::vector<uint32_t>& bits, int64_t n, int64_t i, int64_t j) {
    return bits[size_t(i * bit_words(n) + j / 32)] >> j % 32 & 1u;
}

// x without bias of every unit of a layer, from the states of the other one
std::vector<double> fields(const Machine& r, bool near, const std::vector<uint32_t>& states) {
    const int64_t n = near ? r.near : r.far, k = near ? r.far : r.near;
    std::vector<double> x(size_t(r.m * n));
    for (int64_t i = 0; i < r.m; ++i)
        for (int64_t l = 0; l < k; ++l)
            if (bit(states, k, i, l))
                for (int64_t j = 0; j < n; ++j) x[size_t(i * n + j)] += r.weight(near, l, j);
    return x;
}

// Draws that differ from those at the given fields by more than rounding.
int64_t wrong_draws(const Machine& r, const std::vector<double>& x, int64_t n, const std::vector<uint32_t>& bits,
                    uint32_t step, uint32_t stream, int64_t* close) {
    int64_t wrong = 0;
    for (int64_t i = 0; i < r.m; ++i) {
        for (int64_t j = 0; j < n; ++j) {
            const double p = 1 / (1 + std::exp(-x[size_t(i * n + j)]));
            const double u = philox_uniform(0x123456789abcdefull, uint32_t(j), 77u + uint32_t(i), step, stream);
            if (bit(bits, n, i, j) == (u < p)) continue;
            std::fabs(u - p) < 3e-6 ? ++*close : ++wrong;
        }
        for (int64_t j = n; j < bit_words(n) * 32; ++j) wrong += bit(bits, n, i, j);
    }
    return wrong;
}

double softplus_of(double x) { return (x > 0 ? x : 0) + std::log1p(std::exp(-std::fabs(x))); }

const Launch kLaunch{nullptr, scratch};

void run_op(const GibbsChain& p) {
    GibbsChain_cuda(p, kLaunch);
    check(cudaGetLastError(), "launch");
    check(cudaDeviceSynchronize(), "run");
}

int correctness(int64_t near, int64_t far, int64_t m, DType format) {
    const Machine r(m, near, far, format, std::random_device{}());
    const size_t near_words = size_t(m * bit_words(near)), far_words = size_t(m * bit_words(far));
    uint32_t* near_bits = to_gpu(r.start);
    uint32_t* far_bits = to_gpu(std::vector<uint32_t>(far_words, 0xffffffffu));
    float* mean = to_gpu(std::vector<float>(size_t(m * near), NAN));
    int failed = 0;
    const auto report = [&](bool ok, const char* what, double x, double y) {
        std::printf("%s %s %lldx%lld m %lld %s: %g %g\n", ok ? "PASS" : "FAIL", what, (long long)near, (long long)far,
                    (long long)m, format == DType::bf16 ? "bf16" : "f32", x, y);
        failed += !ok;
    };

    // one alternation at a time
    constexpr int kSteps = 4;
    std::vector<uint32_t> state = r.start;
    int64_t wrong = 0, close = 0;
    double off = 0;
    for (int s = 0; s < kSteps; ++s) {
        GibbsChain p = r.op(1, 5 + s);
        p.near_bits = near_bits;
        p.far_bits = far_bits;
        p.near_mean = mean;
        run_op(p);
        const auto drawn_far = to_host(far_bits, far_words), drawn_near = to_host(near_bits, near_words);
        auto x = fields(r, false, state);
        for (size_t e = 0; e < x.size(); ++e) x[e] += r.b[e % size_t(far)];
        wrong += wrong_draws(r, x, far, drawn_far, 5 + s, 2, &close);
        x = fields(r, true, drawn_far);
        for (size_t e = 0; e < x.size(); ++e) x[e] += r.a[e % size_t(near)];
        wrong += wrong_draws(r, x, near, drawn_near, 5 + s, 1, &close);
        const auto means = to_host(mean, size_t(m * near));
        for (size_t e = 0; e < x.size(); ++e) {
            const double d = std::fabs(means[e] - 1 / (1 + std::exp(-x[e])));
            off = d <= off ? off : d;  // NaN stays
        }
        state = drawn_near;
    }
    report(wrong == 0, "draws: wrong, too close to call", double(wrong), double(close));
    report(off < 3e-6, "means: largest error", off, 0);

    // all at once, twice
    for (int again = 0; again < 2; ++again) {
        check(cudaMemcpy(near_bits, r.start.data(), near_words * 4, cudaMemcpyHostToDevice), "copy");
        GibbsChain p = r.op(kSteps, 5);
        p.near_bits = near_bits;
        run_op(p);
        report(to_host(near_bits, near_words) == state, "many alternations as one by one", 0, 0);
    }

    // annealing up from 0 and back
    const std::vector<double> betas{0, 0.01, 0.0101, 0.3, 0.35, 1, 0.9995, 0.5, 0};
    const double* gpu_betas = to_gpu(betas);
    double* weights = to_gpu(std::vector<double>(size_t(m), 0));
    check(cudaMemcpy(near_bits, r.start.data(), near_words * 4, cudaMemcpyHostToDevice), "copy");
    state = r.start;
    std::vector<double> expected(static_cast<size_t>(m));
    wrong = close = 0;
    off = 0;
    const auto anneal = [&](int64_t first, int64_t steps) {
        GibbsChain p = r.op(steps, uint32_t(1 + first));
        p.near_bits = near_bits;
        p.far_bits = far_bits;
        p.betas = gpu_betas + first;
        p.base_bias = r.base_bias;
        p.log_weight = weights;
        run_op(p);
    };
    for (size_t t = 1; t < betas.size(); ++t) {
        const double from = betas[t - 1], to = betas[t];
        anneal(int64_t(t - 1), 1);
        auto x = fields(r, false, state);
        for (int64_t i = 0; i < m; ++i) {
            for (int64_t j = 0; j < far; ++j) {
                double& f = x[size_t(i * far + j)];
                f += r.b[size_t(j)];
                expected[size_t(i)] += softplus_of(to * f) - softplus_of(from * f);
                f *= to;
            }
            for (int64_t j = 0; j < near; ++j)
                if (bit(state, near, i, j))
                    expected[size_t(i)] += (to - from) * (double(r.a[size_t(j)]) - r.base[size_t(j)]);
        }
        const auto got = to_host(weights, size_t(m));
        for (size_t i = 0; i < got.size(); ++i) {
            const double d = std::fabs(got[i] - expected[i]) / double(near + far);
            off = d <= off ? off : d;
        }
        const auto drawn_near = to_host(near_bits, near_words);
        if (to > 0) {
            const auto drawn_far = to_host(far_bits, far_words);
            wrong += wrong_draws(r, x, far, drawn_far, uint32_t(t), 2, &close);
            x = fields(r, true, drawn_far);
            for (size_t e = 0; e < x.size(); ++e)
                x[e] = to * x[e] + (1 - to) * double(r.base[e % size_t(near)]) + to * double(r.a[e % size_t(near)]);
            wrong += wrong_draws(r, x, near, drawn_near, uint32_t(t), 1, &close);
        } else {
            wrong += drawn_near != state;
        }
        state = drawn_near;
    }
    report(wrong == 0, "annealed draws: wrong, too close to call", double(wrong), double(close));
    report(off < 1e-6, "log weights: largest error a unit", off, 0);
    const auto one_by_one = to_host(weights, size_t(m));
    check(cudaMemset(weights, 0, size_t(m) * 8), "memset");
    check(cudaMemcpy(near_bits, r.start.data(), near_words * 4, cudaMemcpyHostToDevice), "copy");
    anneal(0, int64_t(betas.size()) - 1);
    const auto together = to_host(weights, size_t(m));
    off = 0;
    for (size_t i = 0; i < together.size(); ++i) off = std::fmax(off, std::fabs(together[i] - one_by_one[i]));
    report(to_host(near_bits, near_words) == state && off < 1e-9, "annealing at once as one by one", off, 0);
    return failed;
}

template <class F>
float milliseconds(F&& f, int runs) {
    cudaEvent_t begin, end;
    check(cudaEventCreate(&begin), "event");
    check(cudaEventCreate(&end), "event");
    std::vector<float> times;
    f();
    for (int i = 0; i < runs; ++i) {
        check(cudaEventRecord(begin), "record");
        f();
        check(cudaEventRecord(end), "record");
        check(cudaEventSynchronize(end), "run");
        float t = 0;
        check(cudaEventElapsedTime(&t, begin, end), "time");
        times.push_back(t);
    }
    std::sort(times.begin(), times.end());
    return times[times.size() / 2];
}

// Long chains of more rows than run at a time, which the kernel cuts into parts, against short ones.
int parts(int64_t near, int64_t far, int64_t m) {
    const Machine r(m, near, far, DType::bf16, std::random_device{}());
    const size_t words = size_t(m * bit_words(near));
    constexpr int64_t kSteps = 600, kShort = 20;
    std::vector<double> betas(kSteps + 1);
    for (int64_t t = 0; t <= kSteps; ++t) betas[size_t(t)] = double(t) / kSteps;
    uint32_t* bits = to_gpu(r.start);
    const double* gpu_betas = to_gpu(betas);
    double* weights = to_gpu(std::vector<double>(size_t(m), 0));
    const auto run = [&](int64_t first, int64_t steps) {
        GibbsChain p = r.op(steps, uint32_t(first));
        p.near_bits = bits;
        p.betas = gpu_betas + first;
        p.base_bias = r.base_bias;
        p.log_weight = weights;
        run_op(p);
    };
    run(0, kSteps);
    const auto state = to_host(bits, words);
    const auto weight = to_host(weights, size_t(m));
    check(cudaMemcpy(bits, r.start.data(), words * 4, cudaMemcpyHostToDevice), "copy");
    check(cudaMemset(weights, 0, size_t(m) * 8), "memset");
    for (int64_t t = 0; t < kSteps; t += kShort) run(t, kShort);
    const auto pieces = to_host(weights, size_t(m));
    double off = 0;
    for (size_t i = 0; i < weight.size(); ++i) off = std::fmax(off, std::fabs(weight[i] - pieces[i]));
    const bool ok = to_host(bits, words) == state && off < 1e-9;
    std::printf("%s parts of long chains %lldx%lld m %lld: %g\n", ok ? "PASS" : "FAIL", (long long)near, (long long)far,
                (long long)m, off);
    return !ok;
}

void timing(int64_t near, int64_t far, int64_t m, DType format) {
    if (!chain_fits_cuda(near, far, format)) {
        std::printf("time %lldx%lld: does not fit\n", (long long)near, (long long)far);
        return;
    }
    const Machine r(m, near, far, format, 1);
    uint32_t* near_bits = to_gpu(r.start);
    const auto plain = [&](int64_t steps) {
        GibbsChain p = r.op(steps, 1);
        p.near_bits = near_bits;
        return milliseconds([&] { GibbsChain_cuda(p, kLaunch); }, 11);
    };
    const float one = plain(1), ten = plain(10), many = plain(1000);
    constexpr int64_t kBetas = 10001;
    std::vector<double> betas(kBetas);
    for (int64_t t = 0; t < kBetas; ++t) betas[size_t(t)] = double(t) / (kBetas - 1);
    GibbsChain p = r.op(kBetas - 1, 1);
    p.near_bits = near_bits;
    p.betas = to_gpu(betas);
    p.base_bias = r.base_bias;
    p.log_weight = to_gpu(std::vector<double>(size_t(m), 0));
    const float annealing = milliseconds([&] { GibbsChain_cuda(p, kLaunch); }, 3);
    check(cudaDeviceSynchronize(), "run");
    std::printf(
        "time %lldx%lld m %lld %s: 1 alternation %.1f us, 10 %.1f us, half-step %.3f us; annealing 10000: %.1f ms, "
        "half-step %.3f us\n",
        (long long)near, (long long)far, (long long)m, format == DType::bf16 ? "bf16" : "f32", one * 1e3, ten * 1e3,
        (many - ten) * 1e3 / 1980, annealing, annealing * 1e3 / 20000);
}

}  // namespace

int main(int argc, char** argv) {
    if (argc == 5)
        return correctness(std::atoll(argv[1]), std::atoll(argv[2]), std::atoll(argv[3]),
                           std::strcmp(argv[4], "bf16") ? DType::f32 : DType::bf16);
    cudaDeviceProp device;
    check(cudaGetDeviceProperties(&device, 0), "properties");
    std::printf("%s, %d multiprocessors, %zu bytes of shared memory a block\n", device.name, device.multiProcessorCount,
                device.sharedMemPerBlockOptin);
    for (const int64_t m : {1000, 2100, 4096}) parts(784, 500, m);
    for (const int64_t m : {64, 960, 1000, 1024, 4096}) timing(784, 500, m, DType::bf16);
    timing(500, 784, 1024, DType::bf16);
    timing(500, 500, 1024, DType::bf16);
    timing(784, 1000, 1024, DType::bf16);
    timing(100, 37, 1024, DType::bf16);
    timing(256, 128, 1024, DType::f32);
}

// How the chain kernel deals units to warpgroups, and in which order it keeps them. Plain constexpr functions for
// host and device.
//
// Units come in granules of sixteen: one step of k as states, sixteen columns as what is drawn. Column
// 2 q + word % 2 + 8 (word / 2) of a granule is held by the lanes with lane % 4 == q, in the sums of wgmma as in its
// left operand, so that a lane draws four units and later expands the same four. A granule is half a panel: the lanes
// q of granule `half` hold the four words of Philox block 4 half + q.
#pragma once
#include "kernels/gemm/tiles.h"

namespace unsupfast::cuda {

constexpr int kGranule = 16;

// A last panel of up to sixteen units is one granule, folded: its lanes hold two words each of two blocks.
USF_MAP bool has_folded(int n) { return n % 32 > 0 && n % 32 <= 16; }
USF_MAP int granules(int n) { return (n + 31) / 32 * 2 - has_folded(n); }
USF_MAP bool is_folded(int n, int granule) { return has_folded(n) && granule + 1 == granules(n); }
USF_MAP int unit_of(int n, int granule, int q, int word) {
    const int first = granule / 2 * 32 + q;
    return is_folded(n, granule) ? first + 4 * (word / 2) + 8 * (word % 2) : first + granule % 2 * 4 + 8 * word;
}

// Granules over `sources` warpgroups, as even as can be: the first `full` get `most`, the others one less.
struct Deal {
    int count, most, full;
};
USF_MAP Deal deal(int granules, int sources) {
    const int most = (granules + sources - 1) / sources;
    return {granules, most, granules - (most - 1) * sources};
}
USF_MAP int first_of(const Deal& d, int source) { return source * d.most - (source > d.full ? source - d.full : 0); }
USF_MAP int count_of(const Deal& d, int source) { return d.most - (source >= d.full); }
USF_MAP int source_of(const Deal& d, int granule) {
    return granule < d.full * d.most ? granule / d.most : d.full + (granule - d.full * d.most) / (d.most - 1);
}

// ---------------------------------------------------------------- checks

// Every unit has one place.
constexpr bool holds_once(int n) {
    bool seen[1024] = {};
    int found = 0;
    for (int g = 0; g < granules(n); ++g)
        for (int q = 0; q < 4; ++q)
            for (int word = 0; word < 4; ++word) {
                const int unit = unit_of(n, g, q, word);
                if (unit / 32 != g / 2 || seen[unit]) return false;
                seen[unit] = true;
                found += unit < n;
            }
    return found == n;
}
static_assert(holds_once(1) && holds_once(16) && holds_once(17) && holds_once(32) && holds_once(500) &&
              holds_once(784));

constexpr bool deals_all(int count, int sources) {
    const Deal d = deal(count, sources);
    int next = 0;
    for (int s = 0; s < sources; ++s) {
        if (first_of(d, s) != next || count_of(d, s) < 0) return false;
        for (int i = 0; i < count_of(d, s); ++i)
            if (source_of(d, next + i) != s) return false;
        next += count_of(d, s);
    }
    return next == count;
}
static_assert(deals_all(49, 16) && deals_all(32, 16) && deals_all(3, 16) && deals_all(1, 2) && deals_all(64, 16) &&
              deals_all(7, 4));

}  // namespace unsupfast::cuda

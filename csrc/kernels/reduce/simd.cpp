// Reductions in vectors. What is reduced is cut into pieces of a fixed length; a piece ends in doubles, and pieces are
// joined in their order. So the number of threads does not show.
#include "kernels/reduce/op.h"

#include "simd/vmath.h"

namespace unsupfast {
namespace USF_ISA {
namespace {

enum ReduceScratch : int { kPieceScratch = 3 };

constexpr int64_t kRun = 2048;         // neighbours that are summed in vectors of T
constexpr int64_t kPiece = 16 * kRun;  // neighbours of a piece
constexpr int64_t kRunRows = 64;       // the same of columns, in rows
constexpr int64_t kPieceRows = 1024;
constexpr int kWide = 8;             // vectors side by side
constexpr int64_t kAlone = 1 << 16;  // elements that are not worth waking threads for

struct Sum {
    static constexpr double kFirst = 0;
    template <class V>
    static V join(V a, V b) {
        return a + b;
    }
    // total + rest += x, without losing a digit
    template <class V>
    static void keep(V& total, V& rest, V x) {
        const V t = total + x, back = t - total;
        rest += (total - (t - back)) + (x - back);
        total = t;
    }
};

struct Max {
    static constexpr double kFirst = -__builtin_inf();
    template <class V>
    static V join(V a, V x) {
        return (x > a) | (x != x) ? x : a;
    }
    template <class V>
    static void keep(V& total, V&, V x) {
        total = join(total, x);
    }
};

template <class T>
Vec<T> load_or(const T* p, int64_t n, T other) {
    if (n >= kLanes<T>) return load(p);
    Vec<T> v = splat(other);
    for (int64_t i = 0; i < n; ++i) v[i] = p[i];
    return v;
}

// Up to kRun neighbours
template <class R, class T>
double run_of(const T* x, int64_t n) {
    constexpr int L = kLanes<T>;
    Vec<T> v[kWide];
    for (auto& lane : v) lane = splat(T(R::kFirst));
    int64_t i = 0;
    for (; i + kWide * L <= n; i += kWide * L)
#pragma GCC unroll 8
        for (int j = 0; j < kWide; ++j) v[j] = R::join(v[j], load(x + i + j * L));
    for (int j = 0; i < n; i += L, ++j) v[j] = R::join(v[j], load_or(x + i, n - i, T(R::kFirst)));
    for (int half = kWide / 2; half > 0; half /= 2)
        for (int j = 0; j < half; ++j) v[j] = R::join(v[j], v[j + half]);
    const Vec<T> all = v[0];
    double total = R::kFirst;
    for (int l = 0; l < L; ++l) total = R::join(total, double(all[l]));
    return total;
}

template <class R, class T>
double piece_of(const T* x, int64_t n) {
    double total = R::kFirst;
    for (int64_t i = 0; i < n; i += kRun) total = R::join(total, run_of<R>(x + i, least(kRun, n - i)));
    return total;
}

// Up to kWide vectors of columns over `rows` rows: total and what it lost by rounding
template <class R, class T, int kVectors>
void columns_of(const T* x, int64_t rows, int64_t stride, int64_t n, Vec<T>* total, Vec<T>* rest) {
    constexpr int L = kLanes<T>;
    for (int j = 0; j < kVectors; ++j) {
        total[j] = splat(T(R::kFirst));
        rest[j] = Vec<T>{};
    }
    for (int64_t begin = 0; begin < rows; begin += kRunRows) {
        Vec<T> v[kVectors];
        for (auto& lane : v) lane = splat(T(R::kFirst));
        for (int64_t r = begin; r < least(begin + kRunRows, rows); ++r) {
            const T* row = x + r * stride;
#pragma GCC unroll 8
            for (int j = 0; j < kVectors - 1; ++j) v[j] = R::join(v[j], load(row + j * L));
            v[kVectors - 1] = R::join(v[kVectors - 1], load_n(row + (kVectors - 1) * L, n - (kVectors - 1) * L));
        }
        for (int j = 0; j < kVectors; ++j) R::keep(total[j], rest[j], v[j]);
    }
}

template <class R, class T, int kVectors = kWide>
void columns_by_width(const T* x, int64_t rows, int64_t stride, int64_t n, Vec<T>* total, Vec<T>* rest) {
    if constexpr (kVectors > 1)
        if (n <= (kVectors - 1) * kLanes<T>)
            return columns_by_width<R, T, kVectors - 1>(x, rows, stride, n, total, rest);
    columns_of<R, T, kVectors>(x, rows, stride, n, total, rest);
}

template <class R, class T>
void reduce_by(const Reduce& p, const Launch& launch) {
    constexpr int L = kLanes<T>;
    const T* x = static_cast<const T*>(p.x);
    T* y = static_cast<T*>(p.y);
    const bool rows = p.inner == 1;
    const int64_t length = rows ? kPiece : kPieceRows, wide = rows ? 1 : kWide * L;
    const int64_t pieces = most(1, (p.reduced + length - 1) / length), blocks = (p.inner + wide - 1) / wide;
    const int64_t results = p.outer * p.inner;
    double* part = nullptr;
    if (pieces > 1)
        part = static_cast<double*>(launch.scratch(kPieceScratch, size_t(results * pieces) * sizeof(double)));
    const T scale = T(p.scale);
    auto work = [&](int64_t begin, int64_t end) {
        for (int64_t item = begin; item < end; ++item) {
            const int64_t block = item % blocks, piece = item / blocks % pieces, o = item / blocks / pieces;
            const int64_t first = piece * length, count = least(length, p.reduced - first), j = block * wide;
            const T* from = x + (o * p.reduced + first) * p.inner + j;
            if (rows) {
                const double total = piece_of<R>(from, count);
                if (part)
                    part[piece * results + o] = total;
                else
                    y[o] = T(p.scale * total);
                continue;
            }
            Vec<T> total[kWide], rest[kWide];
            const int64_t n = least(wide, p.inner - j), to = o * p.inner + j;
            columns_by_width<R, T>(from, count, p.inner, n, total, rest);
            for (int64_t l = 0; l < n; l += L) {
                const Vec<T> all = total[l / L], lost = rest[l / L] == rest[l / L] ? rest[l / L] : Vec<T>{};  // of Inf
                if (!part)
                    store_n(y + to + l, Vec<T>((all + lost) * scale), n - l);
                else
                    for (int64_t i = 0; i < least(L, n - l); ++i)
                        part[piece * results + to + l + i] = double(all[i]) + double(lost[i]);
            }
        }
    };
    const int64_t items = p.outer * pieces * blocks;
    if (p.outer * p.reduced * p.inner < kAlone)
        work(0, items);
    else
        parallel_for(launch, items, [&](int64_t begin, int64_t end) { work(begin, end); });
    for (int64_t i = 0; part && i < results; ++i) {
        double total = R::kFirst;
        for (int64_t piece = 0; piece < pieces; ++piece) total = R::join(total, part[piece * results + i]);
        y[i] = T(p.scale * total);
    }
}

template <class T>
void reduce(const Reduce& p, const Launch& launch) {
    p.f == Reduction::sum ? reduce_by<Sum, T>(p, launch) : reduce_by<Max, T>(p, launch);
}

}  // namespace
}  // namespace USF_ISA

USF_KERNEL_BY_DTYPE(Reduce, reduce)

}  // namespace unsupfast

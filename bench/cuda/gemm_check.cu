// Checks and times the matrix products of the GPU, without Python. Every case is compared, on rows drawn at random,
// with sums in float64 of what was multiplied, and with a second run.
//
//   nvcc -gencode=arch=compute_90a,code=sm_90a -std=c++20 -O3 -I csrc bench/cuda/gemm_check.cu
//       csrc/kernels/{gemm,layout,rbm}/cuda.cu -o gemm_check
//   ./gemm_check [CASE ...]      a case by its name; all without
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "kernels/gemm/engine.cuh"
#include "kernels/layout/op.h"
#include "kernels/rbm/op.h"
#include "philox.h"

using namespace unsupfast;

namespace {

void ok(cudaError_t e, const char* what) {
    if (e == cudaSuccess) return;
    std::printf("FAIL %s: %s\n", what, cudaGetErrorString(e));
    std::exit(1);
}

template <class T>
T* gpu(int64_t count) {
    void* p = nullptr;
    ok(cudaMalloc(&p, size_t(count) * sizeof(T) + 256), "cudaMalloc");
    ok(cudaMemset(p, 0xff, size_t(count) * sizeof(T)), "cudaMemset");  // NaN
    return static_cast<T*>(p);
}

void* scratch(int slot, size_t bytes) {
    static void* data[16];
    static size_t have[16];
    if (have[slot] < bytes) {
        if (data[slot]) ok(cudaFree(data[slot]), "cudaFree");
        ok(cudaMalloc(&data[slot], bytes), "cudaMalloc");
        have[slot] = bytes;
    }
    return data[slot];
}

cudaStream_t new_stream() {
    cudaStream_t stream = nullptr;
    ok(cudaStreamCreate(&stream), "cudaStreamCreate");
    return stream;
}

const Launch launch{nullptr, scratch, new_stream()};

// Seconds that what() takes on the GPU: the median of five replays of a graph of several.
template <class F>
double time_of(int repeats, const F& what) {
    auto* stream = static_cast<cudaStream_t>(launch.stream);
    cudaGraph_t graph;
    cudaGraphExec_t replay;
    cudaEvent_t begin, end;
    ok(cudaEventCreate(&begin), "event");
    ok(cudaEventCreate(&end), "event");
    what();
    ok(cudaStreamBeginCapture(stream, cudaStreamCaptureModeGlobal), "capture");
    for (int i = 0; i < repeats; ++i) what();
    ok(cudaStreamEndCapture(stream, &graph), "capture");
    ok(cudaGraphInstantiate(&replay, graph, 0), "graph");
    std::vector<double> times;
    for (int round = 0; round < 6; ++round) {
        float ms = 0;
        ok(cudaEventRecord(begin, stream), "event");
        ok(cudaGraphLaunch(replay, stream), "graph");
        ok(cudaEventRecord(end, stream), "event");
        ok(cudaEventSynchronize(end), "graph");
        ok(cudaEventElapsedTime(&ms, begin, end), "event");
        if (round > 0) times.push_back(ms * 1e-3 / repeats);
    }
    ok(cudaGraphExecDestroy(replay), "graph");
    ok(cudaGraphDestroy(graph), "graph");
    std::sort(times.begin(), times.end());
    return times[2];
}

__global__ void fill(float* x, int64_t count, uint64_t seed, int kind) {  // 0: uniform in +-1, 1: in [0, 1), 2: bits
    for (int64_t i = blockIdx.x * 256 + threadIdx.x; i < count; i += gridDim.x * 256) {
        const float u = uniform_from_bits(philox(seed, uint32_t(i), uint32_t(i >> 32), 0, 0).word[0]);
        x[i] = kind == 0 ? 2 * u - 1 : kind == 1 ? u : float(u < 0.5f);
    }
}

float* random_values(int64_t count, int kind) {
    static std::random_device device;
    float* x = gpu<float>(count);
    fill<<<1024, 256>>>(x, count, uint64_t(device()) << 32 | device(), kind);
    ok(cudaGetLastError(), "fill");
    return x;
}

__device__ float as_bf16(float x) { return __uint_as_float(cuda::pack_bf16(0.f, x) & 0xffff0000u); }

// worst[0] = the largest |got - sum| / sum |a b|, worst[1] the sum of squares of got - sum, worst[2] of sum |a b|
__global__ void compare(int64_t n, int64_t k, const float* a, int64_t a_row, int64_t a_col, const float* b,
                        bool rounded, const int64_t* rows, const float* got, double* errors, double* scales) {
    const int64_t column = blockIdx.x * 128 + threadIdx.x, row = rows[blockIdx.y];
    if (column >= n) return;
    double sum = 0, scale = 0;
    for (int64_t i = 0; i < k; ++i) {
        float x = a[row * a_row + i * a_col], y = b[i * n + column];
        if (rounded) x = as_bf16(x), y = as_bf16(y);
        sum += double(x) * y;
        scale += fabs(double(x) * y);
    }
    errors[blockIdx.y * n + column] = double(got[row * n + column]) - sum;
    scales[blockIdx.y * n + column] = scale;
}

struct Store {  // C = A B, row-major
    float* c;
    int64_t n;
    __device__ bool wants_row_sums() const { return false; }
    __device__ void row_sum(int64_t, int64_t, float) const {}
    __device__ float operator()(int64_t row, int64_t panel, int b, const float (&sums)[4]) const {
        for (int w = 0; w < 4; ++w)
            if (const int64_t column = panel * kPanel + cuda::column_of(b, w); column < n)
                c[row * n + column] = sums[w];
        return 0;
    }
};

struct Case {
    const char* name;
    int64_t m, n, k;
    DType format;
    int left;       // 0: rows, 1: columns (the transpose in memory), 2: bits
    bool values;    // the right operand as row-major values, not as panels
    bool old;       // the engine of all GPUs
    bool positive;  // operands without a sign: sums that grow
};

void run(const Case& c) {
    const bool bf16 = c.format == DType::bf16;
    float* a = random_values(c.m * c.k, c.left == 2 ? 2 : c.positive ? 1 : 0);
    float* b = random_values(c.k * c.n, c.positive ? 1 : 0);
    float* out[2] = {gpu<float>(c.m * c.n), gpu<float>(c.m * c.n)};
    auto* panels = gpu<char>(panel_elements(c.format, c.k, c.n) * element_size(c.format));
    auto* bits = gpu<uint32_t>(c.m * bit_words(c.k));
    auto* other = gpu<int32_t>(1);
    Left left{a, c.k, 1};
    if (c.left == 1) left = {a, 1, c.m};
    if (c.left == 2) {
        PackBits_cuda(PackBits{c.m, c.k, a, c.k, nullptr, bits, other, DType::f32}, launch);
        left = bit_rows(bits, c.k);
    }
    PackPanels_cuda(PackPanels{c.k, c.n, b, c.n, 1, panels, DType::f32, c.format}, launch);
    const cuda::Right right = c.values ? cuda::right_values(b, c.n, nullptr) : cuda::right_panels(panels, c.format);
    const auto multiply = [&](float* to) {
        const Store store{to, c.n};
        if (!c.old)
            cuda::multiply<float>(c.m, c.n, c.k, left, right, c.format, launch, store);
        else if (bf16)
            cuda::multiply_format<cuda::Bf16>(c.m, c.n, c.k, left, right, launch, store);
        else
            cuda::multiply_format<cuda::Fma<float>>(c.m, c.n, c.k, left, right, launch, store);
    };
    for (float* to : out) multiply(to);
    ok(cudaGetLastError(), c.name);
    ok(cudaDeviceSynchronize(), c.name);

    constexpr int kRows = 64;
    std::mt19937_64 draw{std::random_device{}()};
    std::vector<int64_t> rows(kRows);
    for (int i = 0; i < kRows; ++i) rows[size_t(i)] = i == 0 ? c.m - 1 : int64_t(draw() % uint64_t(c.m));
    auto* rows_gpu = gpu<int64_t>(kRows);
    auto *errors = gpu<double>(kRows * c.n), *scales = gpu<double>(kRows * c.n);
    ok(cudaMemcpy(rows_gpu, rows.data(), kRows * 8, cudaMemcpyHostToDevice), "copy");
    compare<<<dim3(unsigned((c.n + 127) / 128), kRows), 128>>>(
        c.n, c.k, a, c.left == 1 ? 1 : c.k, c.left == 1 ? c.m : 1, b, bf16, rows_gpu, out[0], errors, scales);
    ok(cudaDeviceSynchronize(), "compare");
    std::vector<double> e(size_t(kRows * c.n)), s(e.size());
    ok(cudaMemcpy(e.data(), errors, e.size() * 8, cudaMemcpyDeviceToHost), "copy");
    ok(cudaMemcpy(s.data(), scales, s.size() * 8, cudaMemcpyDeviceToHost), "copy");
    double worst = 0, ee = 0, ss = 0;
    bool finite = true;
    for (size_t i = 0; i < e.size(); ++i) {
        finite = finite && std::isfinite(e[i]);
        worst = std::max(worst, std::fabs(e[i]) / std::max(s[i], 1e-30));
        ee += e[i] * e[i];
        ss += s[i] * s[i];
    }
    std::vector<float> first(size_t(c.m * c.n)), second(first.size());
    ok(cudaMemcpy(first.data(), out[0], first.size() * 4, cudaMemcpyDeviceToHost), "copy");
    ok(cudaMemcpy(second.data(), out[1], first.size() * 4, cudaMemcpyDeviceToHost), "copy");
    const bool same = std::memcmp(first.data(), second.data(), first.size() * 4) == 0;

    const double flops = 2. * double(c.m) * double(c.n) * double(c.k);
    const double time = time_of(flops > 1e12 ? 4 : flops > 1e10 ? 10 : 40, [&] { multiply(out[1]); });
    const double error = std::sqrt(ee / std::max(ss, 1e-30)), limit = bf16 ? 1e-4 : 1e-6;
    const bool pass = finite && same && error < limit && worst < 100 * limit;
    std::printf("%s %-22s %5ld x %5ld x %5ld  error %.1e worst %.1e%s%s  %8.2f us %7.1f TFLOP/s\n",
                pass ? "PASS" : "FAIL", c.name, long(c.m), long(c.n), long(c.k), error, worst,
                finite ? "" : " NOT FINITE", same ? "" : " TWO RUNS DIFFER", time * 1e6, flops / time * 1e-12);
    for (void* p : {(void*)a, (void*)b, (void*)out[0], (void*)out[1], (void*)panels, (void*)bits, (void*)other,
                    (void*)rows_gpu, (void*)errors, (void*)scales})
        ok(cudaFree(p), "cudaFree");
}

// CD-1 as it is trained: three half-steps on bits, the weight update, and panels of the new weights.
void contrastive(int64_t side, DType format) {
    const int64_t n = side, batch = side;
    constexpr DType kF = DType::f32;
    float *w = random_values(n * n, 0), *bias = random_values(n, 0), *data = random_values(batch * n, 2);
    auto *weights = gpu<float>(panel_elements(kF, n, n)), *hidden = gpu<float>(2 * batch * n);
    char* panels[2];
    for (char*& p : panels) p = gpu<char>(panel_elements(format, n, n) * element_size(format));
    const int64_t words = bit_words(n);
    auto *visible = gpu<uint32_t>(2 * batch * words), *turned = gpu<uint32_t>(n * bit_words(2 * batch)),
         *sampled = gpu<uint32_t>(batch * words);
    auto *other = gpu<int32_t>(1), *nonfinite = gpu<int32_t>(1);
    std::vector<float> contrast(size_t(2 * batch), 1.f);
    for (int64_t i = batch; i < 2 * batch; ++i) contrast[size_t(i)] = -1.f;
    auto *signs = gpu<float>(2 * batch), *partition = gpu<float>(batch);
    ok(cudaMemcpy(signs, contrast.data(), contrast.size() * 4, cudaMemcpyHostToDevice), "copy");
    ok(cudaMemset(partition, 0, size_t(batch) * 4), "zero");
    PackPanels_cuda(PackPanels{n, n, w, n, 1, weights, kF, kF}, launch);
    PackBits_cuda(PackBits{batch, n, data, n, nullptr, visible, other, kF}, launch);
    const bool same = format == kF;  // float32 panels of the weights are the weights
    const auto half_step = [&](const uint32_t* from, const void* right, float* mean, uint32_t* bits, uint32_t stream,
                               void* log_partition) {
        HalfStep p{};
        p.m = batch, p.n = n, p.k = n, p.states = bit_rows(from, n), p.weights = right, p.bias = bias, p.scale = 0.05;
        p.mean = mean, p.bits = bits, p.log_partition = log_partition, p.ratio = -1,
        p.draw = {7, 3, stream, 0, nullptr};
        p.dtype = kF, p.format = format;
        HalfStep_cuda(p, launch);
    };
    const auto turn = [&] {
        TurnPanels_cuda(TurnPanels{n, n, weights, panels[1], same ? nullptr : panels[0], nonfinite, kF, format},
                        launch);
    };
    const auto up = [&](int part, uint32_t* bits, void* log_partition) {
        half_step(visible + part * batch * words, same ? (void*)weights : panels[0], hidden + part * batch * n, bits, 1,
                  log_partition);
    };
    const auto update = [&](double rate) {
        TurnBits_cuda(TurnBits{2 * batch, n, visible, turned}, launch);
        WeightUpdate u{};
        u.visibles = u.hiddens = n, u.rows = 2 * batch, u.visible = bit_rows(turned, 2 * batch);
        u.hidden = hidden, u.contrast = signs, u.weights = weights, u.rate = rate, u.dtype = kF, u.format = format;
        WeightUpdate_cuda(u, launch);
    };
    const auto step = [&](double rate) {
        up(0, sampled, nullptr);
        half_step(sampled, panels[1], nullptr, visible + batch * words, 2, nullptr);
        up(1, nullptr, nullptr);
        update(rate);
        turn();
    };
    turn();
    up(0, sampled, partition);
    ok(cudaDeviceSynchronize(), "half-step");
    std::vector<float> means(size_t(batch * n)), values(size_t(n * n)), states(size_t(batch * n)),
        b(static_cast<size_t>(n)), terms(static_cast<size_t>(batch));
    std::vector<uint32_t> bits(size_t(batch * words));
    ok(cudaMemcpy(means.data(), hidden, means.size() * 4, cudaMemcpyDeviceToHost), "copy");
    ok(cudaMemcpy(values.data(), w, values.size() * 4, cudaMemcpyDeviceToHost), "copy");
    ok(cudaMemcpy(states.data(), data, states.size() * 4, cudaMemcpyDeviceToHost), "copy");
    ok(cudaMemcpy(b.data(), bias, b.size() * 4, cudaMemcpyDeviceToHost), "copy");
    ok(cudaMemcpy(terms.data(), partition, terms.size() * 4, cudaMemcpyDeviceToHost), "copy");
    ok(cudaMemcpy(bits.data(), sampled, bits.size() * 4, cudaMemcpyDeviceToHost), "copy");
    double worst = 0, worst_term = 0;
    int64_t wrong = 0;
    for (const int64_t i : {int64_t(0), batch / 3, batch - 1}) {
        std::vector<double> sums(static_cast<size_t>(n));
        for (int64_t k = 0; k < n; ++k)
            if (states[size_t(i * n + k)] != 0)
                for (int64_t j = 0; j < n; ++j) sums[size_t(j)] += values[size_t(k * n + j)];
        double total = 0;
        for (int64_t j = 0; j < n; ++j) {
            const double x = 0.05 * sums[size_t(j)] + b[size_t(j)], mean = 1 / (1 + std::exp(-x));
            total += std::log1p(std::exp(x));
            worst = std::max(worst, std::fabs(mean - means[size_t(i * n + j)]));
            const float u = philox_uniform(7, uint32_t(j), uint32_t(i), 3, 1);
            wrong += (bits[size_t(i * words + j / 32)] >> j % 32 & 1u) != (u < means[size_t(i * n + j)]);
        }
        worst_term = std::max(worst_term, std::fabs(total - terms[size_t(i)]) / total);
    }
    std::vector<float> before(size_t(panel_elements(kF, n, n))), after(before.size());
    step(0);
    ok(cudaMemcpy(before.data(), weights, before.size() * 4, cudaMemcpyDeviceToHost), "copy");
    update(1e-3);
    ok(cudaMemcpy(after.data(), weights, after.size() * 4, cudaMemcpyDeviceToHost), "copy");
    std::vector<float> h(size_t(2 * batch * n));
    std::vector<uint32_t> v(size_t(2 * batch * words));
    ok(cudaMemcpy(h.data(), hidden, h.size() * 4, cudaMemcpyDeviceToHost), "copy");
    ok(cudaMemcpy(v.data(), visible, v.size() * 4, cudaMemcpyDeviceToHost), "copy");
    double ee = 0, ss = 0;
    for (const int64_t i : {int64_t(0), n / 2 + 1, n - 1}) {
        std::vector<double> g(static_cast<size_t>(n)), scale(static_cast<size_t>(n));
        for (int64_t r = 0; r < 2 * batch; ++r)
            if (v[size_t(r * words + i / 32)] >> i % 32 & 1u)
                for (int64_t j = 0; j < n; ++j) {
                    g[size_t(j)] += contrast[size_t(r)] * h[size_t(r * n + j)];
                    scale[size_t(j)] += h[size_t(r * n + j)];
                }
        for (int64_t j = 0; j < n; ++j) {
            const size_t at = size_t((j / 32 * n + i) * 32 + j % 32);
            const double e = (double(after[at]) - before[at]) - 1e-3 * g[size_t(j)];
            ee += e * e;
            ss += 1e-6 * scale[size_t(j)] * scale[size_t(j)];
        }
    }
    const double limit = same ? 1e-5 : 1e-2, update_error = std::sqrt(ee / ss);
    const auto time = [](const auto& what) { return time_of(10, what); };
    const double all = time([&] { step(1e-6); });
    std::printf("%s cd-%s %ld  mean %.1e log-partition %.1e wrong bits %ld update %.1e  %.1f us, %.1f TFLOP/s\n",
                worst < limit && worst_term < limit && wrong == 0 && update_error < limit ? "PASS" : "FAIL",
                same ? "float" : "bf16", long(side), worst, worst_term, long(wrong), update_error, all * 1e6,
                10. * double(n) * double(n) * double(batch) / all * 1e-12);
    std::printf("     us: up with bits %.1f, without %.1f, down %.1f, update %.1f, turn %.1f\n",
                1e6 * time([&] { up(0, sampled, nullptr); }), 1e6 * time([&] { up(1, nullptr, nullptr); }),
                1e6 * time([&] { half_step(sampled, panels[1], nullptr, visible + batch * words, 2, nullptr); }),
                1e6 * time([&] { update(1e-6); }), 1e6 * time(turn));
}

constexpr DType kF = DType::f32, kB = DType::bf16;
const Case kCases[] = {
#define USF_SHAPES(name, format, left, values, old, positive)                                                      \
    {name, 64, 64, 64, format, left, values, old, positive}, {name, 1, 1, 1, format, left, values, old, positive}, \
        {name, 65, 33, 17, format, left, values, old, positive},                                                   \
        {name, 131, 70, 99, format, left, values, old, positive},                                                  \
        {name, 1000, 500, 784, format, left, values, old, positive},                                               \
        {name, 2050, 1337, 1001, format, left, values, old, positive}, {                                           \
        name, 4096, 4096, 4096, format, left, values, old, positive                                                \
    }
    USF_SHAPES("bf16", kB, 0, false, false, false),
    USF_SHAPES("bf16-columns", kB, 1, true, false, false),
    USF_SHAPES("bf16-bits", kB, 2, false, false, false),
    USF_SHAPES("float", kF, 0, false, false, false),
    USF_SHAPES("float-columns", kF, 1, true, false, true),
    USF_SHAPES("float-bits", kF, 2, false, false, true),
    USF_SHAPES("old-bf16", kB, 0, false, true, false),
    USF_SHAPES("old-bf16-columns", kB, 1, true, true, false),
    USF_SHAPES("old-bf16-bits", kB, 2, false, true, false),
    USF_SHAPES("old-float", kF, 0, false, true, false),
    USF_SHAPES("old-float-bits", kF, 2, false, true, true),
    {"bf16-large", 8192, 8192, 8192, kB, 0, false, false, false},
    {"bits-large", 8192, 8192, 8192, kB, 2, false, false, false},
#define USF_SMALL(name, format, left, old)                                                                            \
    {name, 1024, 512, 784, format, left, false, old, false}, {name, 1024, 784, 500, format, left, false, old, false}, \
        {name, 128, 512, 784, format, left, false, old, false}, {                                                     \
        name, 784, 500, 2048, format, left, true, old, false                                                          \
    }
    USF_SMALL("small-bf16", kB, 0, false),
    USF_SMALL("small-bf16-bits", kB, 2, false),
    USF_SMALL("small-float", kF, 0, false),
    USF_SMALL("small-float-bits", kF, 2, false),
    USF_SMALL("small-old-bf16", kB, 0, true),
    USF_SMALL("small-old-bf16-bits", kB, 2, true),
    USF_SMALL("small-old-float", kF, 0, true),
};

}  // namespace

int main(int argc, char** argv) {
    for (const Case& c : kCases) {
        bool wanted = argc == 1;
        for (int i = 1; i < argc; ++i) wanted = wanted || std::string(argv[i]) == c.name;
        if (wanted) run(c), std::fflush(stdout);
    }
    for (const DType format : {kB, kF})
        for (const int64_t side : {512, 4096}) {
            const char* name = format == kB ? "cd-bf16" : "cd-float";
            bool wanted = argc == 1;
            for (int i = 1; i < argc; ++i) wanted = wanted || std::string(argv[i]) == name;
            if (wanted) contrastive(side, format), std::fflush(stdout);
        }
}

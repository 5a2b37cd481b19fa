// The engine's products cut by rows. An item packs a few tiles of rows into memory of its own thread and multiplies
// them by all panels, so that nothing one thread writes is read by another and a product is one parallel region.
// Dense left operands want this: a packed tile is as large as a panel. (engine.h packs once for all threads: better
// where lists of non-zeros are short.)
#pragma once
#include "kernels/gemm/block.h"
#include "kernels/gemm/tables.h"

namespace unsupfast::USF_ISA {

// A tile of the product: rows from m0 on, columns from n0 on. Without rows it is none.
template <class T>
struct Tile {
    int64_t m0, n0, cols;
    int rows;
    const T* values;  // leading dimension kPanel
};

// An epilogue is called with (m0, rows, n0, cols, values) of each tile. Or it has beside(done, next), which makes the
// work done beside the product that computes tile `next`: the epilogue of tile `done`, in a piece for every vector.
template <class E, class T>
concept WorksBeside = requires(const E& e, const Tile<T>& tile) { e.beside(tile, tile); };
template <class T>
constexpr int kTileVectors = kTileRows<T> * int(kPanel) / kLanes<T>;

// As multiply() of engine.h, for the sum of `count` products in their order.
template <class T, class Epilogue>
void multiply_by_rows(int64_t m, int64_t n, const Product* products, int64_t count, DType format, const Launch& launch,
                      const Epilogue& epilogue) {
    if (m == 0 || n == 0) return;
    constexpr int64_t kBlockBytes =
        512 << 10;  // of packed tiles (values fill half): they stay in the second-level cache
    const int64_t tiles = (m + kTileRows<T> - 1) / kTileRows<T>, threads = launch.threads ? launch.threads() : 1;
    size_t stride = 64;
    for (int64_t q = 0; q < count; ++q) {
        const size_t own = slots_for<T>(products[q].left, m, products[q].depth, format, tiles).stride;
        if (own > stride) stride = own;
    }
    // two items a thread at least, where there are tiles for it; else the panels are shared out too
    const int64_t most_tiles = most(1, least(8, kBlockBytes / int64_t(stride * size_t(most(1, count)))));
    const int64_t block = least(most_tiles, most(1, tiles / (2 * threads)));
    // as many for every thread, where there are enough
    int64_t blocks = (tiles + block - 1) / block;
    blocks = least(tiles, (blocks + threads - 1) / threads * threads);
    const int64_t parts = least(panels(n), most(1, threads / blocks));
    const auto first_row = [&](int64_t tile) { return m * tile / tiles; };  // tiles of even height

    parallel_for(launch, blocks * parts, [&](int64_t begin, int64_t end) {
        constexpr int kElements = kTileRows<T> * int(kPanel);
        alignas(64) T tiles_of_two[2][kElements] = {}, term[kElements] = {};
        char* slots = static_cast<char*>(launch.scratch(kLeftScratch, stride * size_t(block * count)));
        for (int64_t item = begin; item < end; ++item) {
            const int64_t t0 = tiles * (item / parts) / blocks, t1 = tiles * (item / parts + 1) / blocks;
            const int64_t part = item % parts;
            const auto slot = [&](int64_t t, int64_t q) {
                return reinterpret_cast<Slot*>(slots + size_t((t - t0) * count + q) * stride);
            };
            for (int64_t q = 0; q < count; ++q)
                for (int64_t t = t0; t < t1; ++t)
                    pack_tile<T>(products[q].left, first_row(t), int(first_row(t + 1) - first_row(t)),
                                 products[q].depth, format, slot(t, q));
            Tile<T> done{};
            int turn = 0;
            for (int64_t p = panels(n) * part / parts; p < panels(n) * (part + 1) / parts; ++p) {
                const int64_t n0 = p * kPanel, cols = least(kPanel, n - n0);
                for (int64_t t = t0; t < t1; ++t, turn ^= 1) {
                    const int64_t m0 = first_row(t);
                    const int rows = int(first_row(t + 1) - m0);
                    T* tile = tiles_of_two[turn];
                    const Tile<T> next{m0, n0, cols, rows, tile};
                    int64_t host = 0;  // the product that has the work beside it: a dense one
                    while (host + 1 < count && slot(t, host)->kind != Packed::dense) ++host;
                    for (int64_t q = 0; q < count; ++q) {
                        const int64_t k = products[q].depth;
                        const char* right = static_cast<const char*>(products[q].right) +
                                            p * padded_depth(format, k) * kPanel * element_size(format);
                        T* to = q ? term : tile;
                        if constexpr (WorksBeside<Epilogue, T>) {
                            if (q == host)
                                tile_product<T>(slot(t, q), rows, k, right, format, cols, to,
                                                epilogue.beside(done, next));
                            else
                                tile_product<T>(slot(t, q), rows, k, right, format, cols, to);
                        } else {
                            tile_product<T>(slot(t, q), rows, k, right, format, cols, to);
                        }
                        for (int64_t i = 0; q && i < rows * kPanel; i += kLanes<T>)
                            store(tile + i, load(tile + i) + load(term + i));
                    }
                    if constexpr (!WorksBeside<Epilogue, T>) epilogue(m0, rows, n0, cols, tile);
                    done = next;
                }
            }
            if constexpr (WorksBeside<Epilogue, T>) {
                const auto work = epilogue.beside(done, Tile<T>{});
                for (int q = 0; q < work.kPieces; ++q) work(q);
            }
        }
    });
}

// The best way for the left operand: lists are packed once for all threads.
template <class T, class Epilogue>
void multiply_best(int64_t m, int64_t n, int64_t k, const Left& a, const void* b, DType format, const Launch& launch,
                   const Epilogue& epilogue) {
    const Product product{k, a, b};
    if (a.bits || a.indptr)
        multiply_shared<T>(m, n, k, a, b, format, launch, epilogue);
    else
        multiply_by_rows<T>(m, n, &product, 1, format, launch, epilogue);
}

}  // namespace unsupfast::USF_ISA

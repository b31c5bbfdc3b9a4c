// Matrices f(x_i . y_j) built tile by tile: the product of one tile, then f while it is in cache.
#pragma once

#include <algorithm>
#include <utility>
#include <vector>

#include "retemper/core/control.hpp"
#include "retemper/core/error.hpp"
#include "retemper/core/parallel.hpp"
#include "retemper/core/prefetch.hpp"
#include "retemper/core/types.hpp"
#include "retemper/numerics/linalg.hpp"

namespace retemper::numerics {

inline constexpr Index gram_tile = 192;  // two packed panels and the tile stay in L2

namespace detail {

/// A tile beside the output: its rows lie close together whatever the width of the output, so that
/// they can be read across. Rows are not a power of two apart.
class TileBuffer {
 public:
  static constexpr Index stride = gram_tile + 8;
  TileBuffer() : entries_(static_cast<std::size_t>(gram_tile * stride)) {}
  double* row(Index i) { return entries_.data() + i * stride; }
  auto block(Index i, Index j, Index height, Index width) {
    return Eigen::Map<RowMatrix, 0, Eigen::OuterStride<>>(row(i) + j, height, width,
                                                          Eigen::OuterStride<>(stride));
  }

 private:
  std::vector<double> entries_;
};

inline constexpr Index together = 8;  // rows that share a cache line of the other triangle

#if defined(__GNUC__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wignored-attributes"  // of a wide register as template argument
#endif
/// to[j, i] = from[i, j] for `together` rows i.
inline void transpose_rows(const double* from, Index from_stride, Index width, double* to,
                           Index to_stride) {
  using Packet = Eigen::internal::packet_traits<double>::type;
  constexpr int size = Eigen::internal::unpacket_traits<Packet>::size;
  static_assert(together % size == 0);
  Index j = 0;
  for (; j + size <= width; j += size)
    for (Index i = 0; i < together; i += size) {
      Eigen::internal::PacketBlock<Packet, size> block;
      for (Index k = 0; k < size; ++k)
        block.packet[k] = Eigen::internal::ploadu<Packet>(from + (i + k) * from_stride + j);
      Eigen::internal::ptranspose(block);
      for (Index k = 0; k < size; ++k)
        Eigen::internal::pstoreu(to + (j + k) * to_stride + i, block.packet[k]);
    }
  for (; j < width; ++j)
    for (Index i = 0; i < together; ++i) to[j * to_stride + i] = from[i * from_stride + j];
}
#if defined(__GNUC__)
#pragma GCC diagnostic pop
#endif

/// Asks for the lines of `n` entries of the output, which memory brings while others are computed.
inline void expect(const double* to, Index n) {
  constexpr Index in_line = 8;
  for (Index k = 0; k < n; k += in_line) prefetch_to_write(to + k);
  if (n > 0) prefetch_to_write(to + n - 1);
}

}  // namespace detail

/// Writes all of `out` (n, n), exactly symmetric, for the rows of X (n, d).
/// finish(i, first, count, row) turns row[k] = X_i . X_{first + k}, k < count <= gram_tile, into
/// the entries of `out`; it sees every pair (i, j >= i) once.
template <class Finish>
void gram_tiles(const ConstRowMatrixView& X, Eigen::Ref<RowMatrix> out, int n_threads,
                Control& control, Finish&& finish) {
  constexpr Index strip = 48;  // of a tile on the diagonal, of which half is not needed
  require(out.rows() == X.rows() && out.cols() == X.rows(), "out must be (n, n)");
  const Index n = X.rows();
  std::vector<std::pair<Index, Index>> tiles;
  for (Index i = 0; i < n; i += gram_tile)
    for (Index j = i; j < n; j += gram_tile) tiles.emplace_back(i, j);
  const auto n_tiles = static_cast<Index>(tiles.size());
  control.set_total(n_tiles);
  parallel_for(n_tiles, n_threads, control, [&](Index t) {
    const auto [i0, j0] = tiles[static_cast<std::size_t>(t)];
    const Index height = std::min(gram_tile, n - i0), width = std::min(gram_tile, n - j0);
    thread_local detail::TileBuffer tile;
    const bool is_diagonal = i0 == j0;
    const Index rows = is_diagonal ? strip : height;
    for (Index r = 0; r < height; r += rows) {
      const Index c = is_diagonal ? r : 0, here = std::min(rows, height - r);
      set_product(X.middleRows(i0 + r, here), X.middleRows(j0 + c, width - c).transpose(),
                  tile.block(r, c, here, width - c));
    }
    if (is_diagonal) {
      for (Index i = 0; i < height; ++i) finish(i0 + i, j0 + i, width - i, tile.row(i) + i);
      for (Index i = 1; i < height; ++i)
        for (Index j = 0; j < i; ++j) tile.row(i)[j] = tile.row(j)[i];
      for (Index i = 0; i < height; ++i) {
        if (i + 2 < height) detail::expect(&out(i0 + i + 2, j0), width);
        std::copy(tile.row(i), tile.row(i) + width, &out(i0 + i, j0));
      }
      return;
    }
    for (Index r = 0; r < height; r += detail::together) {
      const Index end = std::min(r + detail::together, height);
      const bool is_whole = end - r == detail::together;
      for (Index i = r; i < end; ++i) {
        detail::expect(&out(i0 + i, j0), width);
        const Index share = (width + detail::together - 1) / detail::together;
        const Index last = std::min((i - r + 1) * share, width);
        for (Index j = (i - r) * share; j < last; ++j)
          prefetch_to_write(&out(j0 + j, i0 + end - 1));
        finish(i0 + i, j0, width, tile.row(i));
        std::copy(tile.row(i), tile.row(i) + width, &out(i0 + i, j0));
      }
      if (is_whole) {
        detail::transpose_rows(tile.row(r), tile.stride, width, &out(j0, i0 + r),
                               out.outerStride());
      } else {
        for (Index j = 0; j < width; ++j)
          for (Index i = r; i < end; ++i) out(j0 + j, i0 + i) = tile.row(i)[j];
      }
    }
  });
}

/// The same between the rows of X (n, d) and of Y (k, d): out (n, k).
template <class Finish>
void gram_tiles(const ConstRowMatrixView& X, const ConstRowMatrixView& Y, Eigen::Ref<RowMatrix> out,
                int n_threads, Control& control, Finish&& finish) {
  require(X.cols() == Y.cols(), "X and Y differ in the number of features");
  require(out.rows() == X.rows() && out.cols() == Y.rows(), "out must be (n, k)");
  const Index down = (X.rows() + gram_tile - 1) / gram_tile;
  const Index across = (Y.rows() + gram_tile - 1) / gram_tile;
  control.set_total(down * across);
  parallel_for(down * across, n_threads, control, [&](Index t) {
    const Index i0 = t / across * gram_tile, j0 = t % across * gram_tile;
    const Index height = std::min(gram_tile, X.rows() - i0);
    const Index width = std::min(gram_tile, Y.rows() - j0);
    thread_local detail::TileBuffer tile;
    set_product(X.middleRows(i0, height), Y.middleRows(j0, width).transpose(),
                tile.block(0, 0, height, width));
    for (Index i = 0; i < height; ++i) {
      detail::expect(&out(i0 + i, j0), width);
      finish(i0 + i, j0, width, tile.row(i));
      std::copy(tile.row(i), tile.row(i) + width, &out(i0 + i, j0));
    }
  });
}

}  // namespace retemper::numerics

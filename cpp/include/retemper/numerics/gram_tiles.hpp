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

/// to[j, i] = from[i, j], whole cache lines of `to` at a time.
inline void transpose(const double* from, Index height, Index width, Index from_stride, double* to,
                      Index to_stride) {
  constexpr Index together = 8, ahead = 24;  // lines under way, each in another page
  Index i = 0;
  for (; i + together <= height; i += together) {
    const double* at = from + i * from_stride;
    for (Index j = 0; j < width; ++j) {
      double* line = to + j * to_stride + i;
      if (j + ahead < width) prefetch_to_write(line + ahead * to_stride);
      for (Index k = 0; k < together; ++k) line[k] = at[k * from_stride + j];
    }
  }
  for (; i < height; ++i)
    for (Index j = 0; j < width; ++j) to[j * to_stride + i] = from[i * from_stride + j];
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
    for (Index i = 0; i < height; ++i) {
      const Index c = is_diagonal ? i : 0;
      finish(i0 + i, j0 + c, width - c, tile.row(i) + c);
    }
    if (is_diagonal) {
      for (Index i = 1; i < height; ++i)
        for (Index j = 0; j < i; ++j) tile.row(i)[j] = tile.row(j)[i];
    } else {
      detail::transpose(tile.row(0), height, width, tile.stride, &out(j0, i0), out.outerStride());
    }
    for (Index i = 0; i < height; ++i)
      std::copy(tile.row(i), tile.row(i) + width, &out(i0 + i, j0));
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
      finish(i0 + i, j0, width, tile.row(i));
      std::copy(tile.row(i), tile.row(i) + width, &out(i0 + i, j0));
    }
  });
}

}  // namespace retemper::numerics

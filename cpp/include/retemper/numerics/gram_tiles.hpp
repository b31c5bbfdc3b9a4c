// Matrices f(x_i . y_j) built tile by tile: the product of one tile, then f while it is in cache.
#pragma once

#include <algorithm>
#include <utility>
#include <vector>

#include "retemper/core/control.hpp"
#include "retemper/core/error.hpp"
#include "retemper/core/parallel.hpp"
#include "retemper/core/types.hpp"
#include "retemper/numerics/linalg.hpp"

namespace retemper::numerics {

inline constexpr Index gram_tile = 192;  // two packed panels and the tile stay in L2

/// Writes all of `out` (n, n), exactly symmetric, for the rows of X (n, d).
/// finish(i, first, count, row) turns row[k] = X_i . X_{first + k}, k < count <= gram_tile, into
/// the entries of `out`; it sees every pair (i, j >= i) once.
template <class Finish>
void gram_tiles(const ConstRowMatrixView& X, Eigen::Ref<RowMatrix> out, int n_threads,
                Control& control, Finish&& finish) {
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
    auto tile = out.block(i0, j0, height, width);
    set_product(X.middleRows(i0, height), X.middleRows(j0, width).transpose(), tile);
    for (Index i = i0; i < i0 + height; ++i) {
      const Index first = i0 == j0 ? i : j0;
      finish(i, first, j0 + width - first, &out(i, first));
    }
    if (i0 == j0) {
      for (Index i = 1; i < height; ++i)
        for (Index j = 0; j < i; ++j) tile(i, j) = tile(j, i);
    } else {
      out.block(j0, i0, width, height) = tile.transpose();
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
    set_product(X.middleRows(i0, height), Y.middleRows(j0, width).transpose(),
                out.block(i0, j0, height, width));
    for (Index i = i0; i < i0 + height; ++i) finish(i, j0, width, &out(i, j0));
  });
}

}  // namespace retemper::numerics

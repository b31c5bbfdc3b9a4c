// Second moments of activations and targets, fold by fold, gathered batch by batch.
#pragma once

#include <vector>

#include "retemper/core/control.hpp"
#include "retemper/core/types.hpp"

namespace retemper::phases {

/// Running sums over the rows seen so far, of h - shift_h and t - shift_t. The arrays are the
/// caller's; all are row-major with the fold first.
struct FoldSums {
  Index n_folds, n_units, n_targets;
  double* hh;     ///< (F, h, h); the lower triangle counts
  double* ht;     ///< (F, h, q)
  double* h;      ///< (F, h)
  double* t;      ///< (F, q)
  double* tt;     ///< (F, q) squares
  double* count;  ///< (F,)
};

/// Adds a batch. H: (n, h) and T: (n, q) row-major; fold: (n,) in [0, F). With is_single the
/// products of 256 rows are taken in float and added up in double. Folds are shared out among the
/// threads, so that their number changes no bit. Throws ArgumentError on a fold out of range.
template <class Scalar>
void add_batch(const FoldSums& sums, const Scalar* H, const double* T, const Index* fold, Index n,
               const ConstVectorView& shift_h, const ConstVectorView& shift_t, bool is_single,
               int n_threads, Control& control);

extern template void add_batch(const FoldSums&, const double*, const double*, const Index*, Index,
                               const ConstVectorView&, const ConstVectorView&, bool, int, Control&);
extern template void add_batch(const FoldSums&, const float*, const double*, const Index*, Index,
                               const ConstVectorView&, const ConstVectorView&, bool, int, Control&);

/// Products of the cross moments B of a training set (all folds but one, centred at its means) and
/// those of the fold held out (centred at the same means), over the targets [first, last).
struct TargetProducts {
  RowMatrix train;  ///< (h, h) B B^T
  RowMatrix cross;  ///< (h, h) B B_held^T
};

TargetProducts target_products(const FoldSums& sums, Index held_out, Index first, Index last,
                               int n_threads, Control& control);

/// hits[i] counts the rows whose largest entry of P diag(c_i) Z + mean is that of their label (the
/// first of equal ones). P: (n, r), c: (R, r), Z: (r, K), mean: (K,), label: (n,) in [0, K).
/// Throws ArgumentError on shapes and labels.
Vector count_hits(const ConstRowMatrixView& P, const ConstRowMatrixView& c,
                  const ConstRowMatrixView& Z, const ConstVectorView& mean, const Index* label,
                  int n_threads);

}  // namespace retemper::phases

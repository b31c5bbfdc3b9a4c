// Second moments of activations and targets, fold by fold, gathered batch by batch.
#pragma once

#include "retemper/core/control.hpp"
#include "retemper/core/types.hpp"

namespace retemper::phases {

/// In which type the products of a block of 256 rows are taken; they are added up in double.
enum class Precision { float64, float32 };

/// Running sums over the rows seen so far, of h - shift_h and t - shift_t. All arrays are row-major
/// with the fold first.
struct FoldSums {
  /// Nothing seen yet. Shifts near the means keep the sums well conditioned. Throws ArgumentError
  /// on sizes below one.
  FoldSums(Index n_folds, const ConstVectorView& shift_h, const ConstVectorView& shift_t);

  Index n_folds, n_units, n_targets;
  Vector shift_h;  ///< (h,)
  Vector shift_t;  ///< (q,)
  Vector hh;       ///< (F, h, h); the lower triangle counts
  Vector ht;       ///< (F, h, q)
  Vector h;        ///< (F, h)
  Vector t;        ///< (F, q)
  Vector tt;       ///< (F, q) squares
  Vector count;    ///< (F,)
};

/// Rows of one batch.
template <class Scalar>
struct Batch {
  Index n;
  const Scalar* H;    ///< (n, h) row-major
  const double* T;    ///< (n, q) row-major
  const Index* fold;  ///< (n,) in [0, F)
};

/// Adds a batch. Folds are shared out among the threads, so that their number changes no bit.
/// Throws ArgumentError on a fold out of range.
template <class Scalar>
void add_batch(FoldSums& sums, const Batch<Scalar>& batch, Precision precision, int n_threads,
               Control& control);

extern template void add_batch(FoldSums&, const Batch<double>&, Precision, int, Control&);
extern template void add_batch(FoldSums&, const Batch<float>&, Precision, int, Control&);

/// (h, h) products B B^T of the cross moments B of all rows, centred at their means, over the
/// targets [first, last).
RowMatrix whole_products(const FoldSums& sums, Index first, Index last, int n_threads,
                         Control& control);

/// Products of the cross moments B of a training set (all folds but one, centred at its means) and
/// those of the fold held out (centred at the same means), over the targets [first, last).
struct TargetProducts {
  RowMatrix train;  ///< (h, h) B B^T
  RowMatrix cross;  ///< (h, h) (B B_held^T + B_held B^T) / 2
};

/// `whole`: what `whole_products` gives for the same targets. With it the mixed product follows
/// from squares, (B + B_held)^2 - B^2 - B_held^2, of which half the entries are enough.
TargetProducts target_products(const FoldSums& sums, const ConstRowMatrixView& whole,
                               Index held_out, Index first, Index last, int n_threads,
                               Control& control);

/// u^T a u of a symmetric a (h, h), of which half is computed; u: (h, r). Throws ArgumentError on
/// shapes.
RowMatrix turned(const ConstRowMatrixView& a, const ConstMatrixView& u, int n_threads,
                 Control& control);

/// hits[i] counts the rows whose largest entry of P diag(c_i) Z + mean is that of their label (the
/// first of equal ones). P: (n, r), c: (R, r), Z: (r, K), mean: (K,), label: (n,) in [0, K).
/// Throws ArgumentError on shapes and labels.
Vector count_hits(const ConstRowMatrixView& P, const ConstRowMatrixView& c,
                  const ConstRowMatrixView& Z, const ConstVectorView& mean, const Index* label,
                  int n_threads);

}  // namespace retemper::phases

// Deep linear networks on data: where gradient flow ends, and gradient descent itself.
#pragma once

#include <vector>

#include "retemper/core/control.hpp"
#include "retemper/core/status.hpp"
#include "retemper/core/types.hpp"
#include "retemper/numerics/linalg.hpp"

namespace retemper::linear {

/// End points of gradient flow on k independent networks, one per output.
struct DeepFit {
  RowMatrix coef;              ///< (k, d)
  Vector source_scale;         ///< (k,) c: the factor of the part of the source outside the rows
  Vector fit_norm;             ///< (k,) a = |X^+ y|
  Vector row_norm, null_norm;  ///< (k,) p and q: the source inside and outside the row space
  Vector residual;             ///< (k,) of c = (|coef| / |source|)^{1 - 1/L}
  std::vector<Index> n_iter;   ///< (k,)
  std::vector<Status> status;  ///< (k,) stalled: the flow runs into zero, coef interpolates
};

/// y (n, k); source (k, d); depth >= 1, may be infinite where ridge is 0. The ridge is in the loss
/// |y - X b|^2 / n + ridge D(b, source), D = |b - source|^2 at depth 1 (then ridge may be negative
/// down to minus the smallest eigenvalue of the sample covariance on the row space).
/// Throws ArgumentError on a depth, ridge or source outside that.
DeepFit deep_fit(const numerics::ThinSvd& space, const ConstRowMatrixView& y,
                 const ConstRowMatrixView& source, double depth, double ridge);

struct Descent {
  std::vector<RowMatrix> factors;  ///< W_1 .. W_L
  double residual;                 ///< |W diag(s) - y| / |y|
  Index n_iter;
  Status status;
};

/// Gradient descent on W_1 .. W_L for |diag(s) W^T - y^T|^2 / (2 n), W = W_L .. W_1, from
/// `factors`: any data set has this form in the coordinates of its row space. s (r,); y (k, r).
/// Stops at residual limits.tol. Throws NumericalError when the descent diverges.
Descent factor_descent(const ConstVectorView& s, const ConstRowMatrixView& y, Index n_samples,
                       std::vector<RowMatrix> factors, double step_size,
                       const IterationLimits& limits, Control& control);

/// The same for one output and the balanced rank-one start W_1 = h_1 v^T, W_j = a h_j h_{j-1}^T
/// with unit h_j and W_L = a h_{L-1}^T: it stays of that form, so a step costs O(r).
/// Returns {v^T, a}. `null_square` is the square of the part of the source outside the row space.
Descent rank_one_descent(const ConstVectorView& s, const ConstVectorView& y, Index n_samples,
                         const ConstVectorView& source, double null_square, int depth,
                         double step_size, const IterationLimits& limits, Control& control);

}  // namespace retemper::linear

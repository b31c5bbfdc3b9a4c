// Shallow ReLU network f(x) = m^(-1/2) sum_r a_r relu(w_r . x), fixed signs a: its tangent kernel
// at infinite width, and full-batch gradient descent on W at finite width.
#pragma once

#include "retemper/core/control.hpp"
#include "retemper/core/status.hpp"
#include "retemper/core/types.hpp"

namespace retemper::linear {

/// Tangent kernel H(x, x') = x.x' (pi - acos(cos(x, x'))) / (2 pi), with H(x, x) = |x|^2 / 2 and 0
/// for zero rows. Writes all of `kernel` (n, n) for the rows of X (n, d); exactly symmetric.
void relu_ntk(const ConstRowMatrixView& X, Eigen::Ref<RowMatrix> kernel, int n_threads,
              Control& control);

/// The same between the rows of X (n, d) and of Y (k, d); writes all of `kernel` (n, k).
void relu_ntk(const ConstRowMatrixView& X, const ConstRowMatrixView& Y,
              Eigen::Ref<RowMatrix> kernel, int n_threads, Control& control);

/// f (n,) of the network with weights W (m, d) and signs a (m,) at the rows of X (n, d).
Vector relu_network_predict(const ConstRowMatrixView& W, const ConstVectorView& a,
                            const ConstRowMatrixView& X, int n_threads, Control& control);

struct ReluTraining {
  double step_size = 1.0;  // of the loss |e|^2 / 2 + ridge |W - W_0|^2 / 2, e = f + intercept - y
  double ridge = 0.0;
  bool fit_intercept = false;  // the best constant, exactly, before every step
  IterationLimits limits;      // tol: fall of the loss in ten steps, over its start
};

struct ReluFit {
  RowMatrix W;             // (m, d) after the last step
  double intercept = 0.0;  // 0 without fit_intercept
  Vector loss;             // (n_iter + 1,) mean of e^2 before the first and after every step
  double residual = 0.0;   // what tol is compared with
  Index n_iter = 0;
  Status status = Status::max_iter;
};

/// Gradient descent from W (m, d) on X (n, d), y (n,). The bits do not depend on n_threads.
/// Throws NumericalError when the loss leaves 100 times its first value: the step is too long.
ReluFit relu_network_fit(RowMatrix W, const ConstVectorView& a, const ConstRowMatrixView& X,
                         const ConstVectorView& y, const ReluTraining& training, int n_threads,
                         Control& control);

}  // namespace retemper::linear

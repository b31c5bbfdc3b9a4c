#include "retemper/diagonal/simulate.hpp"

#include <cmath>
#include <string>
#include <vector>

#include "retemper/core/error.hpp"

namespace retemper::diagonal {

Vector descend(const ConstRowMatrixView& X, const ConstVectorView& y, const Descent& descent,
               Index stride, const Stream& stream, Weights& weights, Control& control) {
  const Index n = X.rows(), features = X.cols(), batch = descent.batch_size;
  require(y.size() == n, "y must have one entry per row of X");
  for (const Vector* w : {&weights.w_plus, &weights.v_plus, &weights.w_minus, &weights.v_minus})
    require(w->size() == features, "weights must have one entry per column of X");
  require(stride >= 1 && batch >= 0 && descent.n_steps >= 0, "counts must not be negative");
  Vector loss(1 + descent.n_steps / stride), residual(n), gradient(features);
  std::vector<double> chosen(static_cast<std::size_t>(batch));
  control.set_total(descent.n_steps);
  for (Index step = 0;; ++step) {
    control.check();
    Vector coef = weights.coef();
    if (step % stride == 0) {
      loss[step / stride] = 0.5 * (y - X * coef).squaredNorm();
      if (!std::isfinite(loss[step / stride]))
        throw NumericalError("gradient descent diverged before step " + std::to_string(step) +
                             ": lower step_size");
    }
    if (step == descent.n_steps) break;
    if (batch == 0) {
      residual.noalias() = y - X * coef;
      gradient.noalias() = X.transpose() * residual;
    } else {
      stream.uniform(static_cast<std::uint64_t>(step * batch), batch, chosen.data());
      gradient.setZero();
      for (const double uniform : chosen) {
        const Index i = static_cast<Index>(uniform * static_cast<double>(n));
        gradient += (y[i] - X.row(i).dot(coef)) * X.row(i).transpose();
      }
      gradient *= static_cast<double>(n) / static_cast<double>(batch);
    }
    // all four move at once: the old w enters the update of v
    const Vector gw = descent.rate_w * gradient, gv = descent.rate_v * gradient;
    const Vector w_plus = weights.w_plus, w_minus = weights.w_minus;
    weights.w_plus += gw.cwiseProduct(weights.v_plus);
    weights.w_minus -= gw.cwiseProduct(weights.v_minus);
    weights.v_plus += gv.cwiseProduct(w_plus);
    weights.v_minus -= gv.cwiseProduct(w_minus);
    control.advance();
  }
  return loss;
}

}  // namespace retemper::diagonal

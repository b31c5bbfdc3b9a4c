#include "retemper/diagonal/simulate.hpp"

#include <cmath>
#include <string>
#include <vector>

#include "retemper/core/error.hpp"
#include "retemper/numerics/normal_stream.hpp"

namespace retemper::diagonal {

Vector descend(const ConstRowMatrixView& X, const ConstVectorView& y, const Descent& descent,
               Index stride, const Stream& rows, const Stream& noise, Weights& weights,
               Control& control) {
  const Index n = X.rows(), features = X.cols(), batch = descent.batch_size;
  require(y.size() == n, "y must have one entry per row of X");
  for (const Vector* w : {&weights.w_plus, &weights.v_plus, &weights.w_minus, &weights.v_minus})
    require(w->size() == features, "weights must have one entry per column of X");
  require(stride >= 1 && batch >= 0 && descent.n_steps >= 0, "counts must not be negative");
  Vector loss(1 + descent.n_steps / stride), residual(n), gradient(features);
  std::vector<double> chosen(static_cast<std::size_t>(batch));
  const Index n_labels = batch == 0 ? n : batch;  // of a step
  Vector extra = Vector::Zero(descent.label_noise > 0.0 ? n_labels : 0);
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
    if (extra.size() > 0) {
      numerics::fill_normal(noise, static_cast<std::uint64_t>(step * n_labels), n_labels,
                            extra.data());
      extra *= descent.label_noise;
    }
    if (batch == 0) {
      residual.noalias() = y - X * coef;
      if (extra.size() > 0) residual += extra;
      gradient.noalias() = X.transpose() * residual;
    } else {
      rows.uniform(static_cast<std::uint64_t>(step * batch), batch, chosen.data());
      gradient.setZero();
      for (Index b = 0; b < batch; ++b) {
        const double uniform = chosen[static_cast<std::size_t>(b)];
        const Index i = static_cast<Index>(uniform * static_cast<double>(n));
        const double label = extra.size() > 0 ? y[i] + extra[b] : y[i];
        gradient += (label - X.row(i).dot(coef)) * X.row(i).transpose();
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

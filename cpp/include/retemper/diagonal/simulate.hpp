// Discrete gradient descent on the four weights of every feature (theory page 04, section 5.4).
#pragma once

#include "retemper/core/control.hpp"
#include "retemper/core/random.hpp"
#include "retemper/core/types.hpp"

namespace retemper::diagonal {

/// f(x) = sum_d (w_plus v_plus - w_minus v_minus)_d x_d; all (D,).
struct Weights {
  Vector w_plus, v_plus, w_minus, v_minus;
  Vector coef() const { return w_plus.cwiseProduct(v_plus) - w_minus.cwiseProduct(v_minus); }
};

struct Descent {
  double rate_w, rate_v;  ///< learning rates of the two layers on |y - X beta|^2 / 2
  Index n_steps;
  Index batch_size = 0;      ///< rows per step, drawn with replacement; 0: all of them
  double label_noise = 0.0;  ///< standard deviation of what is added to the labels of every step
};

/// Runs the descent in place and returns the loss before each step and at the end, every `stride`
/// steps: (1 + n_steps / stride,), without the noise of that step. A batch gradient is scaled by
/// n / batch. Batches are drawn from the stream `rows`, noise from `noise`.
/// Throws NumericalError on divergence, naming the step.
Vector descend(const ConstRowMatrixView& X, const ConstVectorView& y, const Descent& descent,
               Index stride, const Stream& rows, const Stream& noise, Weights& weights,
               Control& control);

}  // namespace retemper::diagonal

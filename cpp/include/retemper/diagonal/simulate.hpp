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
  Index batch_size = 0;  ///< rows per step, drawn with replacement; 0: all of them
};

/// Runs the descent in place and returns the loss before each step and at the end, every `stride`
/// steps: (1 + n_steps / stride,). A batch gradient is scaled by n / batch.
/// Throws NumericalError on divergence, naming the step.
Vector descend(const ConstRowMatrixView& X, const ConstVectorView& y, const Descent& descent,
               Index stride, const Stream& stream, Weights& weights, Control& control);

}  // namespace retemper::diagonal

// Damped fixed-point iteration, with Anderson acceleration where asked for.
#pragma once

#include <functional>

#include "retemper/core/control.hpp"
#include "retemper/core/status.hpp"
#include "retemper/core/types.hpp"

namespace retemper::numerics {

/// Writes g(x) to out, which arrives with the length of x.
using FixedPointMap = std::function<void(const Vector& x, Vector& out)>;

struct FixedPoint {
  Vector x;                           ///< the iterate of the smallest residual
  double residual = 0.0;              ///< max |g(x) - x| / max(1, max |x|)
  Index n_iter = 0;                   ///< evaluations of g
  Status status = Status::converged;  ///< else max_iter, or stalled: 100 evaluations in vain
};

/// Solves x = g(x) from x0 by x <- (1 - damping) g(x) + damping x. With memory > 0 the step
/// combines that many earlier ones so that the linearised residual is smallest (Anderson 1965);
/// where this leaves the domain of g or multiplies the residual by 10, the iteration goes on from
/// the best iterate without them. `control` is polled at every evaluation. Throws ArgumentError if
/// damping is outside [0, 1), or memory is negative; NumericalError if g is not finite after a
/// plain step.
FixedPoint fixed_point(const FixedPointMap& g, Vector x0, const IterationLimits& limits,
                       Control& control, Index memory = 0);

}  // namespace retemper::numerics

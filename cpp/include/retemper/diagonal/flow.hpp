// Time course of gradient flow: an n-dimensional stiff equation for the dual variable (theory
// page 04, section 5.3).
#pragma once

#include "retemper/core/control.hpp"
#include "retemper/diagonal/infer.hpp"
#include "retemper/numerics/bdf.hpp"

namespace retemper::diagonal {

/// ds/dt = y - X beta, beta = c sinh(u0 + 2 X' s), s(0) = 0, on the loss |y - X beta|^2 / 2; the
/// rows of the trajectory are s at `times`, (n_times,) increasing and not negative. Uses X, y,
/// scale and centre of the problem.
numerics::Trajectory flow(const Problem& problem, const ConstVectorView& times,
                          const numerics::OdeLimits& limits, int n_threads, Control& control);

}  // namespace retemper::diagonal

// Time course of gradient flow: an n-dimensional stiff equation for the dual variable (theory
// page 04, section 5.3).
#pragma once

#include "retemper/core/control.hpp"
#include "retemper/diagonal/infer.hpp"
#include "retemper/numerics/bdf.hpp"

namespace retemper::diagonal {

struct FlowPath {
  numerics::Trajectory dual;  ///< s at the times
  RowMatrix coef;             ///< (n_reached, D) beta there
};

/// ds/dt = y - X beta, s(0) = 0, on the loss |y - X beta|^2 / 2, where the force of beta is that of
/// the start plus X' s; for two layers beta = c sinh(u0 + 2 X' s). times: (n_times,) increasing and
/// not negative. Uses X, y, scale and centre of the problem.
FlowPath flow(const Problem& problem, double depth, const ConstVectorView& times,
              const numerics::OdeLimits& limits, int n_threads, Control& control);

}  // namespace retemper::diagonal

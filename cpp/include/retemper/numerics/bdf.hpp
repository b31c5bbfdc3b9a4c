// Stiff initial value problems whose Jacobian is dear: it is kept over many steps.
#pragma once

#include "retemper/numerics/ode.hpp"

namespace retemper::numerics {

/// y' = f(y) by the numerical differentiation formulas of orders 1 to 5 with variable step and
/// order (Shampine & Reichelt 1997). Takes what integrate_stiff takes; where that evaluates a
/// Jacobian at every step, this one keeps it as long as the inner iteration converges.
Trajectory integrate_bdf(const StiffSystem& system, double t0, const Vector& y0,
                         const ConstVectorView& times, const OdeLimits& limits, Control& control);

}  // namespace retemper::numerics

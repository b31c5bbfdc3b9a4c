// Stiff initial value problems with error control and output at given times.
#pragma once

#include <functional>

#include "retemper/core/control.hpp"
#include "retemper/core/status.hpp"
#include "retemper/core/types.hpp"

namespace retemper::numerics {

struct OdeLimits {
  double rtol = 1e-8;
  double atol =
      1e-10;  ///< the local error of each entry is kept below atol + rtol |y| (mean square)
  Index max_steps = 100000;  ///< accepted and rejected
};

struct Trajectory {
  RowMatrix y;        ///< (n_reached, n): one row for each output time that was reached
  double t = 0.0;     ///< time reached
  Index n_steps = 0;  ///< accepted
  Index n_rejected = 0;
  Status status = Status::converged;  ///< else max_iter (steps), or stalled: the step vanished
};

/// A stiff system y' = f(y) and the linear algebra of its Jacobian J, which is the caller's.
struct StiffSystem {
  /// NaN where y is no place to be: the step that led there is halved.
  std::function<void(const Vector& y, Vector& dy)> rhs;
  /// Factors shift I - J(y); is_new is false where y is that of the last call.
  std::function<void(const Vector& y, double shift, bool is_new)> factor;
  /// Replaces b by the solution of the factored system; by NaN if it could not be factored.
  std::function<void(Vector& b)> solve;
  /// Where it is given, called with every output, its place among the times and y as the functions
  /// above see it.
  std::function<void(Index place, const Vector& y)> output = nullptr;
  /// Where it is given, the origin of y moves to the y of every accepted step, which this is told:
  /// the functions above then see small differences, whose digits a large y would swallow, and the
  /// tolerances are relative to these. f must not depend on time, steps may be shorter than the
  /// digits of the time, and one ends at every output.
  std::function<void(const Vector& y)> move_origin = nullptr;
};

/// y' = f(y) from y(t0) = y0 by the numerical differentiation formulas of orders 1 to 5 with
/// variable step and order (Shampine & Reichelt 1997). The Jacobian is kept as long as the inner
/// iteration converges. times: (n_times,) increasing, none before t0; between steps by
/// interpolation. `control` is polled at every step. Throws ArgumentError on bad times or
/// tolerances, NumericalError if f is not finite at the start.
Trajectory integrate_bdf(const StiffSystem& system, double t0, const Vector& y0,
                         const ConstVectorView& times, const OdeLimits& limits, Control& control);

}  // namespace retemper::numerics

// Directions of a deep linear network that do not mix: one weight in all layers for each.
#pragma once

#include <vector>

#include "retemper/core/control.hpp"
#include "retemper/core/types.hpp"
#include "retemper/numerics/bdf.hpp"

namespace retemper::phases {

struct DeepLinearProblem {
  Vector spectrum;  ///< (p,) eigenvalues of the inputs
  Vector signal;    ///< (p,) covariances of targets and inputs; where zero, decay alone acts
  double init_scale = 0.01;
  Index depth = 2;
  double weight_decay = 0.0;
};

/// Logarithms of the weights (T, p) after `steps`, which must not decrease, steps of descent.
/// Throws ArgumentError on shapes, NumericalError where a weight changes its sign or passes 1e6.
RowMatrix descend(const DeepLinearProblem& problem, double step_size,
                  const std::vector<Index>& steps, Control& control);

/// The same in continuous time, rows of y. Throws ArgumentError on shapes and times.
numerics::Trajectory flow(const DeepLinearProblem& problem, const ConstVectorView& times,
                          const numerics::OdeLimits& limits, Control& control);

}  // namespace retemper::phases

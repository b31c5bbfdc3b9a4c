// Training of a network whose outputs are replaced by their first order in the parameters.
#pragma once

#include "retemper/core/control.hpp"
#include "retemper/core/types.hpp"
#include "retemper/numerics/bdf.hpp"
#include "retemper/phases/mlp.hpp"

namespace retemper::phases {

/// Gradient flow of the mean loss of all rows plus weight_decay / 2 times the squared weights, with
/// outputs that are linear in the parameters around `start`; rows of y are the parameters less
/// `start`. Of the problem its sizes, activation, loss and weight decay count. X: (n, inputs),
/// Y: (n, outputs), rows of probabilities for softmax. Products with the Jacobian go through the
/// layers: it is never made. Throws ArgumentError on shapes and times.
numerics::Trajectory linearised_flow(const MlpProblem& problem, const ConstVectorView& start,
                                     const ConstRowMatrixView& X, const ConstRowMatrixView& Y,
                                     const ConstVectorView& times,
                                     const numerics::OdeLimits& limits, Control& control);

}  // namespace retemper::phases

// A network with one hidden layer that learns from another one, on average over normal inputs.
#pragma once

#include "retemper/core/control.hpp"
#include "retemper/core/types.hpp"
#include "retemper/numerics/bdf.hpp"

namespace retemper::phases {

/// Of all units: erf(u / sqrt 2), max(u, 0), u.
enum class UnitKind { erf, relu, linear };

/// Weights are in the eigenbasis of the inputs.
struct TwoLayerProblem {
  Vector spectrum;         ///< (p,) eigenvalues of the input covariance
  Vector values;           ///< (G,) different eigenvalues
  Vector counts;           ///< (G,) directions of each
  RowMatrix teacher;       ///< (M, p)
  Vector teacher_readout;  ///< (M,)
  UnitKind kind = UnitKind::erf;
  bool train_readout = true;
  double weight_decay = 0.0;
  double noise_var = 0.0;  ///< of the labels
};

struct TwoLayerState {
  RowMatrix w;       ///< (K, p)
  Vector readout;    ///< (K,)
  RowMatrix spread;  ///< (G, K K) covariance that noisy gradients gave to the weights, a direction
  Index step = 0;
};

/// Moves by minus the gradient of half the mean squared error and of the weight decay, n_steps
/// times. With batch_size > 0 rows of every step are fresh: their noise spreads the weights, to
/// leading order in many directions. Stops early where a weight is above `largest`.
/// Throws ArgumentError on shapes.
TwoLayerState descend(const TwoLayerProblem& problem, TwoLayerState state, double step_size,
                      Index batch_size, Index n_steps, double largest, Control& control);

/// The same in continuous time without noise: rows of y are w, then the read-out. Stalls where a
/// weight would pass `largest`. Throws ArgumentError on shapes and times.
numerics::Trajectory flow(const TwoLayerProblem& problem, const TwoLayerState& start,
                          const ConstVectorView& times, double largest,
                          const numerics::OdeLimits& limits, Control& control);

}  // namespace retemper::phases

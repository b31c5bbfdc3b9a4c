// Fixed point of the high-dimensional limit (theory page 04, section 4.6).
#pragma once

#include <vector>

#include "retemper/core/control.hpp"
#include "retemper/core/status.hpp"
#include "retemper/core/types.hpp"

namespace retemper::diagonal {

/// Joint law of one coordinate as a mixture: with probability weight[k] the target coefficient is
/// N(mean[k], var[k]), the fine-tuning scale is scale[k], the centre of the penalty has the mirror
/// coordinate centre[k] and the coefficient to be remembered is source[k]. All (K,).
/// A scale of zero freezes the coordinate at zero.
struct Law {
  Vector weight, mean, var, scale, centre, source;
  double depth = 2.0;  ///< layers of the network

  Index size() const { return weight.size(); }
  /// Throws ArgumentError on unequal lengths.
  void validate() const;
};

struct Channel {
  double alpha;      ///< samples per feature
  double noise_var;  ///< variance of the label noise
  double mu;         ///< penalty strength, 0: interpolation
};

/// The scalar channel: the estimate x of a coefficient B solves
/// x + effective_mu q'(x) = z = B + sqrt(tau) N(0, 1).
struct FixedPoint {
  double mse = 0.0, tau = 0.0, effective_mu = 0.0, dof = 0.0;
  double residual = 0.0;          ///< larger relative residual of equations (1) and (2)
  double quadrature_error = 0.0;  ///< relative change of mse and dof on doubling the nodes
  Vector mse_of, drift_of;        ///< (K,) E (x - B)^2 and E (x - source)^2 given k
  Index n_iter = 0;               ///< quadrature passes
  Status status = Status::converged;
};

/// Where a neighbouring solution lies; a tau that is not positive means nowhere.
struct Start {
  double tau = 0.0, effective_mu = 0.0;
};

/// Solves (1) tau = (noise_var + E) / alpha and (2) effective_mu (alpha - dof) = mu. Status
/// no_solution with an infinite mse at the interpolation threshold with noise.
/// Throws ArgumentError if every coordinate is frozen.
FixedPoint solve_fixed_point(const Law& law, const Channel& channel, const Start& start,
                             Control& control);

/// The same for neighbouring problems (P of both): each starts from the one before it, in blocks
/// of fixed length, so that the result does not depend on the number of threads.
std::vector<FixedPoint> solve_fixed_points(const std::vector<Law>& laws,
                                           const std::vector<Channel>& channels, int n_threads,
                                           Control& control);

}  // namespace retemper::diagonal

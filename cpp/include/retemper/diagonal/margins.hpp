// Averages of the scalar channel behind the theory of margins.
#pragma once

#include "retemper/core/types.hpp"
#include "retemper/diagonal/theory.hpp"

namespace retemper::diagonal {

/// Averages of the estimate x of a coefficient B that is seen as z = signal B + sqrt(tau) N(0, 1).
struct MarginMoments {
  double square;   ///< E x^2
  double overlap;  ///< E x B
  double dof;      ///< E dx / dz
};

/// The estimate solves x + effective_mu q'(x) = z, with two layers. Coordinates of scale zero stay
/// at zero. NaN where the search has left the range of doubles, or a part is too narrow for them.
MarginMoments margin_averages(const Law& law, double signal, double tau, double effective_mu);

}  // namespace retemper::diagonal

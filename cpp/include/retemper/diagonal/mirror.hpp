// The mirror map of a diagonal network, beta = c sinh(u), and its scalar estimator.
#pragma once

#include <cmath>

#include "retemper/core/types.hpp"
#include "retemper/numerics/vector_math.hpp"

namespace retemper::diagonal {

struct SinhCosh {
  double sinh, cosh;
};

/// sinh(u) and cosh(u), fit for SIMD loops: no call into the C library. Infinite beyond |u| = 710.
RETEMPER_VM SinhCosh sinh_cosh(double u) {
  const double size = std::fabs(u);
  const double half = 0.5 * numerics::vm::exp(size);
  const double other = 0.25 / half;
  const double z = u * u;
  // Taylor below 1/2, where the difference of the exponentials would cancel
  const double tail =
      1.0 / 6 +
      z * (1.0 / 120 +
           z * (1.0 / 5040 + z * (1.0 / 362880 + z * (1.0 / 39916800 + z * (1.0 / 6227020800.0)))));
  const double near = u + u * z * tail;
  const double far = std::copysign(half - other, u);
  return {size < 0.5 ? near : far, half + other};
}

/// beta = c sinh(u) and weight = 2 c cosh(u), all (D,).
void mirror_map(const ConstVectorView& c, const Vector& u, Vector& beta, Vector& weight);

/// asinh(x / c) for any finite x and c > 0, also where the ratio overflows.
double asinh_ratio(double x, double c);

/// Mirror coordinate u of the scalar estimator, the root of c sinh(u) + effective_mu (u - u0) / 2 =
/// z (theory page 04, section 4.6). Needs c > 0 and effective_mu >= 0. A large `tol`, relative,
/// stops early, at a value too large in size.
double mirror_prox(double z, double c, double effective_mu, double u0, double tol = 1e-15);

}  // namespace retemper::diagonal

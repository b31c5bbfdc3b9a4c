// The mirror map of a diagonal network, beta = c sinh(u), and its scalar estimator; and those of
// deeper ones, beta = c sinh(u) cosh(r u)^(1 / r) with r = 1 - 2 / depth.
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
void mirror_map(const ConstVectorView& c, const ConstVectorView& u, VectorView beta,
                VectorView weight);

/// asinh(x / c) for any finite x and c > 0, also where the ratio overflows.
double asinh_ratio(double x, double c);

/// Mirror coordinate u of the scalar estimator, the root of c sinh(u) + effective_mu (u - u0) / 2 =
/// z (theory page 04, section 4.6). Needs c > 0 and effective_mu >= 0. A large `tol`, relative,
/// stops early, at a value too large in size.
double mirror_prox(double z, double c, double effective_mu, double u0, double tol = 1e-15);

/// The same for many coordinates, all (D,); u = 0 where c = 0.
void mirror_prox(const ConstVectorView& z, const ConstVectorView& c, double effective_mu,
                 const ConstVectorView& u0, VectorView u);

/// Map of one coordinate of a network of more than two layers. The penalty has the derivative
/// force(u) = stiffness tanh(r u) / r, which is u / 2 in the limit of two layers.
struct DeepMirror {
  double c, r, stiffness;

  static DeepMirror of(double c, double depth) {
    const double r = 1.0 - 2.0 / depth;
    return {c, r, std::pow(0.5 * c, -r) / depth};
  }
  double force(double u) const { return stiffness * std::tanh(r * u) / r; }
};

struct DeepPoint {
  double coef, slope;  ///< beta, d beta / du
  double tanh, sech2;  ///< of r u: force r / stiffness and its derivative over stiffness
};

/// Fit for SIMD loops.
RETEMPER_VM DeepPoint deep_point(const DeepMirror& m, double u) {
  const SinhCosh whole = sinh_cosh(u), part = sinh_cosh(m.r * u);
  const double lift = m.c * numerics::vm::exp(numerics::vm::log(part.cosh) / m.r);
  const double inverse = 1.0 / part.cosh, tanh = part.sinh * inverse;
  return {lift * whole.sinh, lift * (whole.cosh + whole.sinh * tanh), tanh, inverse * inverse};
}

/// Mirror coordinate whose force has moved by `force` from that of u0: NaN or infinite beyond the
/// largest force there is.
inline double deep_coordinate(const DeepMirror& m, double u0, double force) {
  const double change = force * m.r / m.stiffness, cosh = std::cosh(m.r * u0);
  return u0 + std::atanh(change / (1.0 / (cosh * cosh) - std::tanh(m.r * u0) * change)) / m.r;
}

/// Root u of beta(u) + effective_mu (force(u) - force(u0)) = z. A large `tol` stops early.
double deep_prox(const DeepMirror& mirror, double z, double effective_mu, double u0,
                 double tol = 1e-15);

}  // namespace retemper::diagonal

#include "retemper/diagonal/mirror.hpp"

#include <algorithm>

namespace retemper::diagonal {

void mirror_map(const ConstVectorView& c, const ConstVectorView& u, VectorView beta,
                VectorView weight) {
  const Index n = u.size();
  const double *cp = c.data(), *up = u.data();
  double *bp = beta.data(), *wp = weight.data();
#pragma omp simd
  for (Index d = 0; d < n; ++d) {
    const SinhCosh sc = sinh_cosh(up[d]);
    bp[d] = cp[d] * sc.sinh;
    wp[d] = 2.0 * cp[d] * sc.cosh;
  }
}

double asinh_ratio(double x, double c) {
  const double t = x / c;
  if (std::abs(t) < 1e150) return std::asinh(t);
  return std::copysign(std::log(std::abs(x)) - std::log(c) + std::log(2.0), x);
}

double mirror_prox(double z, double c, double effective_mu, double u0, double tol) {
  const double half = 0.5 * effective_mu;
  const double signed_target = z + half * u0;
  const double target = std::abs(signed_target);
  // c sinh(u) + half u is convex and increasing for u >= 0: Newton from above never overshoots
  double u = std::min(asinh_ratio(target, c), target / (c + half));
  for (int i = 0; i < 100; ++i) {
    const SinhCosh at = sinh_cosh(u);
    const double step = (c * at.sinh + half * u - target) / (c * at.cosh + half);
    u -= step;
    if (!(step > tol * u)) break;
  }
  return std::copysign(u, signed_target);
}

void mirror_prox(const ConstVectorView& z, const ConstVectorView& c, double effective_mu,
                 const ConstVectorView& u0, VectorView u) {
  constexpr double tol = 1e-14;
  constexpr Index width = 32;
  const double half = 0.5 * effective_mu;
  for (Index from = 0; from < z.size(); from += width) {
    const Index n = std::min(width, z.size() - from);
    const double *zp = z.data() + from, *cp = c.data() + from, *u0p = u0.data() + from;
    double* up = u.data() + from;
    double target[width], most[width];
#pragma omp simd
    for (Index i = 0; i < n; ++i) {
      target[i] = cp[i] > 0.0 ? std::fabs(zp[i] + half * u0p[i]) : 0.0;
      const double ratio = std::min(target[i] / cp[i], 1e300);
      const double by_map = numerics::vm::log(1.0 + 2.0 * ratio), by_force = target[i] / half;
      most[i] = cp[i] > 0.0 ? std::min(by_map, by_force) : 0.0;
      up[i] = most[i];
    }
    double worst = 1.0;
    for (int round = 0; round < 100 && worst > 0.0; ++round) {
      worst = 0.0;
#pragma omp simd reduction(max : worst)
      for (Index i = 0; i < n; ++i) {
        const SinhCosh at = sinh_cosh(up[i]);
        const double left = cp[i] * at.sinh + half * up[i] - target[i];
        const double next = std::min(up[i] - left / (cp[i] * at.cosh + half), most[i]);
        const double moved = std::fabs(next - up[i]) - tol * next;
        worst = moved > worst ? moved : worst;
        up[i] = next;
      }
    }
#pragma omp simd
    for (Index i = 0; i < n; ++i) up[i] = std::copysign(up[i], zp[i] + half * u0p[i]);
  }
}

double deep_prox(const DeepMirror& mirror, double z, double effective_mu, double u0, double tol) {
  const double full = effective_mu * mirror.stiffness / mirror.r;
  const double signed_target = z + full * std::tanh(mirror.r * u0);
  const double target = std::abs(signed_target);
  if (target == 0.0) return 0.0;
  // beta is at least c sinh(u), and at least c 2^(-1 / r) e^u sinh(u)
  double low = 0.0, high = asinh_ratio(target, mirror.c);
  const double grown =
      std::log(target) - std::log(mirror.c) + (1.0 + 1.0 / mirror.r) * std::log(2.0);
  high = std::min(high, 0.5 * (grown > 30.0 ? grown : std::log1p(std::exp(grown))));
  double u = high;
  for (int i = 0; i < 200; ++i) {
    const DeepPoint at = deep_point(mirror, u);
    const double excess = at.coef + full * at.tanh - target;
    const double slope = at.slope + effective_mu * mirror.stiffness * at.sech2;
    (excess > 0.0 ? high : low) = u;
    double next = u - excess / slope;
    if (!(next >= low && next <= high)) next = 0.5 * (low + high);
    const double step = std::abs(next - u);
    u = next;
    if (!(step > tol * u)) break;
  }
  return std::copysign(u, signed_target);
}

}  // namespace retemper::diagonal

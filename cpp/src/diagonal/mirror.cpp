#include "retemper/diagonal/mirror.hpp"

#include <algorithm>

namespace retemper::diagonal {

void mirror_map(const ConstVectorView& c, const Vector& u, Vector& beta, Vector& weight) {
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

}  // namespace retemper::diagonal

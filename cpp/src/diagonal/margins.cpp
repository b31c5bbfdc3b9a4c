#include "retemper/diagonal/margins.hpp"

#include <cmath>
#include <limits>

#include "retemper/diagonal/mirror.hpp"

namespace retemper::diagonal {

MarginMoments margin_averages(const Law& law, double signal, double tau, double effective_mu) {
  constexpr double reach = 9.0;  // standard deviations covered by the trapezoidal rule
  constexpr double longest = 0.15, most_width = 4000.0;
  constexpr double inv_sqrt_2pi = 0.39894228040143267794;
  constexpr double nan = std::numeric_limits<double>::quiet_NaN();
  constexpr MarginMoments none{nan, nan, nan};
  const double half = 0.5 * effective_mu;
  MarginMoments sum{0.0, 0.0, 0.0};
  for (Index part = 0; part < law.size(); ++part) {
    const double c = law.scale[part], u0 = law.centre[part], mean = law.mean[part];
    if (c == 0.0) continue;
    const double middle = signal * mean;
    const double sd = std::sqrt(signal * signal * law.var[part] + tau), inv_sd = 1.0 / sd;
    const double low = mirror_prox(middle - reach * sd, c, effective_mu, u0);
    const double width = mirror_prox(middle + reach * sd, c, effective_mu, u0) - low;
    if (!(width <= most_width)) return none;
    // an int, which AVX2 makes a double four at a time
    const int n = 79 + static_cast<int>(width / longest);
    const double h = width / static_cast<double>(n);
    const double slope = signal * law.var[part] * inv_sd;  // of E[B | z] in t
    double whole = 0.0, square = 0.0, overlap = 0.0, dof = 0.0;
#pragma omp simd reduction(+ : whole, square, overlap, dof)
    for (int k = 0; k <= n; ++k) {
      const double u = low + h * static_cast<double>(k);
      const SinhCosh at = sinh_cosh(u);
      const double x = c * at.sinh, dx = c * at.cosh;
      const double t = (x + half * (u - u0) - middle) * inv_sd;
      const double density = numerics::vm::exp(-0.5 * t * t);
      const double mass = density * (dx + half);
      whole += mass;
      square += mass * x * x;
      overlap += mass * x * (mean + slope * t);
      dof += density * dx;
    }
    // probabilities that do not sum to one: the part is too narrow for its place
    if (!(std::abs(h * inv_sd * inv_sqrt_2pi * whole - 1.0) < 1e-8)) return none;
    const double scale = law.weight[part] * h * inv_sd * inv_sqrt_2pi;
    sum.square += scale * square;
    sum.overlap += scale * overlap;
    sum.dof += scale * dof;
  }
  return sum;
}

}  // namespace retemper::diagonal

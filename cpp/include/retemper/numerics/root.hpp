// Roots of one equation in one unknown, kept inside a bracket.
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>

#include "retemper/core/control.hpp"
#include "retemper/core/error.hpp"
#include "retemper/core/status.hpp"

namespace retemper::numerics {

struct Root {
  double x = 0.0;
  double residual = 0.0;              ///< f(x)
  Index n_iter = 0;                   ///< evaluations of f
  Status status = Status::converged;  ///< else max_iter, or no_solution: no change of sign
};

/// An interval and the function at its ends.
struct Bracket {
  double low, high, f_low, f_high;
  Index n_iter = 2;  ///< evaluations of f
  bool has_root() const {
    return f_low == 0.0 || f_high == 0.0 || std::signbit(f_low) != std::signbit(f_high);
  }
};

namespace detail {

inline double checked(double value, double x) {
  if (std::isnan(value)) throw NumericalError("the function is NaN at " + std::to_string(x));
  return value;
}

/// Half the width at which a root x counts as found.
inline double root_width(double x, const IterationLimits& limits) {
  return std::max(limits.tol, 2.0 * std::numeric_limits<double>::epsilon()) * std::abs(x) +
         std::numeric_limits<double>::min();
}

inline Root no_root(const Bracket& b) {
  const bool is_low = std::abs(b.f_low) < std::abs(b.f_high);
  return {is_low ? b.low : b.high, is_low ? b.f_low : b.f_high, b.n_iter, Status::no_solution};
}

}  // namespace detail

template <class F>
Bracket bracket(F&& f, double low, double high) {
  require(std::isfinite(low) && std::isfinite(high) && low < high,
          "a bracket must be finite with low < high");
  return {low, high, detail::checked(f(low), low), detail::checked(f(high), high)};
}

/// A root inside the bracket by inverse quadratic interpolation where that is safe and bisection
/// where it is not (Chandrupatla 1997). Stops when |x - root| <= limits.tol |x| is certain.
/// Throws NumericalError where f is NaN.
template <class F>
Root bracketed_root(F&& f, const Bracket& start, const IterationLimits& limits = {200, 0.0}) {
  if (!start.has_root()) return detail::no_root(start);
  // a: newest end, b: the other end, c: the end before a
  double a = start.low, b = start.high, fa = start.f_low, fb = start.f_high;
  double c = b, fc = fb;
  double fraction = 0.5;
  for (Root root{0.0, 0.0, start.n_iter, Status::converged};;) {
    root.x = std::abs(fa) < std::abs(fb) ? a : b;
    root.residual = std::abs(fa) < std::abs(fb) ? fa : fb;
    const double share = detail::root_width(root.x, limits) / std::abs(b - a);
    if (root.residual == 0.0 || share > 0.5) return root;
    if (root.n_iter >= limits.max_iter) {
      root.status = Status::max_iter;
      return root;
    }
    const double x = a + std::clamp(fraction, share, 1.0 - share) * (b - a);
    const double fx = detail::checked(f(x), x);
    ++root.n_iter;
    if (std::signbit(fx) == std::signbit(fa)) {
      c = a;
      fc = fa;
    } else {
      c = b;
      fc = fb;
      b = a;
      fb = fa;
    }
    a = x;
    fa = fx;
    const double xi = (a - b) / (c - b);
    const double phi = (fa - fb) / (fc - fb);
    const bool is_safe = phi * phi < xi && (1.0 - phi) * (1.0 - phi) < 1.0 - xi;
    fraction = is_safe ? fa / (fb - fa) * fc / (fb - fc) +
                             (c - a) / (b - a) * fa / (fc - fa) * fb / (fc - fb)
                       : 0.5;
  }
}

template <class F>
Root bracketed_root(F&& f, double low, double high, const IterationLimits& limits = {200, 0.0}) {
  return bracketed_root(f, bracket(f, low, high), limits);
}

}  // namespace retemper::numerics

#include "retemper/numerics/gauss_hermite.hpp"

#include <cmath>
#include <string>

#include "retemper/core/error.hpp"
#include "retemper/numerics/linalg.hpp"

namespace retemper::numerics {

namespace {

constexpr double pi = 3.14159265358979323846;

void require_order(Index order) {
  if (order < 1) throw ArgumentError("order must be at least 1, got " + std::to_string(order));
}

/// Orthonormal Hermite polynomials of degree n and n - 1 at x, both times 2^(-512 shift).
struct HermitePair {
  double last, before;
  int shift;
};

HermitePair hermite(Index n, double x) {
  HermitePair h{1.0, 0.0, 0};
  for (Index k = 0; k < n; ++k) {
    const double next = (x * h.last - std::sqrt(static_cast<double>(k)) * h.before) /
                        std::sqrt(static_cast<double>(k + 1));
    h.before = h.last;
    h.last = next;
    if (std::abs(next) > 0x1p512) {
      h.last *= 0x1p-512;
      h.before *= 0x1p-512;
      ++h.shift;
    }
  }
  return h;
}

/// P_n and P_n - P_{n-1} at 1 - t.
struct LegendrePair {
  double last, step;
};

LegendrePair legendre(Index n, double t) {
  LegendrePair p{1.0, 0.0};
  for (Index k = 0; k < n; ++k) {
    const auto degree = static_cast<double>(k);
    p.step = (degree * p.step - (2.0 * degree + 1.0) * t * p.last) / (degree + 1.0);
    p.last += p.step;
  }
  return p;
}

/// Puts a node and its mirror image in their places, k counted from either end.
void place(GaussRule& rule, Index k, double node, double weight) {
  const Index mirror = rule.node.size() - 1 - k;
  rule.node[k] = -node;
  rule.node[mirror] = node;
  rule.weight[k] = rule.weight[mirror] = weight;
}

}  // namespace

GaussRule gauss_hermite_rule(Index order) {
  require_order(order);
  Vector guess = Vector::Zero(1);
  if (order > 1) {
    const auto top = static_cast<double>(order - 1);
    const Vector beside = Vector::LinSpaced(order - 1, 1.0, top).cwiseSqrt();
    guess = tridiagonal_eigen(Vector::Zero(order), beside, false).values;
  }
  GaussRule rule{Vector(order), Vector(order)};
  const auto n = static_cast<double>(order);
  for (Index k = 0; k < (order + 1) / 2; ++k) {
    double x = 2 * k + 1 == order ? 0.0 : -guess[k];
    HermitePair h = hermite(order, x);
    x -= h.last / (std::sqrt(n) * h.before);  // h_n' = sqrt(n) h_{n-1}
    h = hermite(order, x);
    const double rest = -h.last / (std::sqrt(n) * h.before);  // from x to the root itself
    const double slope = h.before * (1.0 + x * rest);
    place(rule, k, x, std::ldexp(1.0 / (n * slope * slope), -1024 * h.shift));
  }
  return rule;
}

GaussRule gauss_legendre_rule(Index order) {
  require_order(order);
  GaussRule rule{Vector(order), Vector(order)};
  const auto n = static_cast<double>(order);
  for (Index k = 0; k < (order + 1) / 2; ++k) {
    const bool is_middle = 2 * k + 1 == order;
    const double sine = std::sin(0.5 * pi * (4.0 * static_cast<double>(k) + 3.0) / (4.0 * n + 2.0));
    double t = is_middle ? 1.0 : 2.0 * sine * sine;  // one minus the node
    double slope = 0.0;                              // (1 - x^2) P_n'(x)
    for (int step = 0; step < 20; ++step) {
      const LegendrePair p = legendre(order, t);
      slope = n * (t * p.last - p.step);
      const double change = is_middle ? 0.0 : p.last * t * (2.0 - t) / slope;
      if (std::abs(change) < 4e-16 * t) break;
      t += change;
    }
    place(rule, k, 1.0 - t, 2.0 * t * (2.0 - t) / (slope * slope));
  }
  return rule;
}

}  // namespace retemper::numerics

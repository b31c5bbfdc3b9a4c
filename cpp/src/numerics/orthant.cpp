#include "retemper/numerics/orthant.hpp"

#include <algorithm>
#include <array>
#include <cmath>

#include "retemper/core/error.hpp"
#include "retemper/numerics/panel_rule.hpp"

namespace retemper::numerics {

namespace {

constexpr double pi = 3.14159265358979323846;
constexpr double jitter = 1e-10;

/// arcsine of the correlation.
double angle(double a, double b, double c) {
  const double root = std::sqrt(a * b);
  return root > 0.0 ? std::asin(std::clamp(c / root, -1.0, 1.0)) : 0.0;
}

using Four = std::array<std::array<double, 4>, 4>;

/// Of four variables with correlations r. The least correlated one, t, is coupled to the others
/// step by step: d P / d r_tj is the density of u_t = u_j = 0 times the probability that the other
/// two are positive there. Along the angle of a correlation that density is constant.
double four(const Four& r) {
  std::size_t t = 0;
  double least = 2.0;
  for (std::size_t i = 0; i < 4; ++i) {
    double most = 0.0;
    for (std::size_t j = 0; j < 4; ++j) most = i == j ? most : std::max(most, std::fabs(r[i][j]));
    if (most < least) {
      least = most;
      t = i;
    }
  }
  const std::array<std::size_t, 3> rest{(t + 1) % 4, (t + 2) % 4, (t + 3) % 4};
  double sum = 0.0;
  for (std::size_t a = 0; a < 3; ++a)
    sum += std::asin(std::clamp(r[rest[a]][rest[(a + 1) % 3]], -1.0, 1.0));
  double total = 0.5 * (0.125 + sum / (4.0 * pi));
  const PanelNodes& rule = standard_panel();
  for (std::size_t a = 0; a < 3; ++a) {
    const std::size_t j = rest[a], m = rest[(a + 1) % 3], n = rest[(a + 2) % 3];
    if (r[t][j] == 0.0) continue;
    const double whole = std::asin(std::clamp(r[t][j], -1.0, 1.0));
    double part = 0.0;
    for (Index q = 0; q < rule.node.size(); ++q) {
      const double y = 0.5 * (1.0 - rule.node[q]);  // nodes gather where correlations are full
      const double tj = std::sin(whole * (1.0 - y * y)), tau = tj / r[t][j];
      const double tm = tau * r[t][m], tn = tau * r[t][n], det = 1.0 - tj * tj;
      const double mm = 1.0 - (tm * tm + r[j][m] * r[j][m] - 2.0 * tj * tm * r[j][m]) / det;
      const double nn = 1.0 - (tn * tn + r[j][n] * r[j][n] - 2.0 * tj * tn * r[j][n]) / det;
      const double mn =
          r[m][n] - (tm * tn + r[j][m] * r[j][n] - tj * (tm * r[j][n] + tn * r[j][m])) / det;
      part += rule.weight[q] * y *
              (0.25 + angle(std::max(mm, 0.0), std::max(nn, 0.0), mn) / (2.0 * pi));
    }
    total += whole / (2.0 * pi) * part;
  }
  return total;
}

}  // namespace

double orthant_probability(const double* covariance, Index n, Index stride) {
  require(n >= 0 && n <= 4, "n must be from 0 to 4");
  const auto c = [&](Index i, Index j) { return covariance[i * stride + j]; };
  if (n == 0) return 1.0;
  if (n == 1) return 0.5;
  if (n == 2) return 0.25 + angle(c(0, 0), c(1, 1), c(0, 1)) / (2.0 * pi);
  if (n == 3) {
    return 0.125 + (angle(c(0, 0), c(1, 1), c(0, 1)) + angle(c(0, 0), c(2, 2), c(0, 2)) +
                    angle(c(1, 1), c(2, 2), c(1, 2))) /
                       (4.0 * pi);
  }
  Four r;
  for (Index i = 0; i < 4; ++i)
    for (Index j = 0; j < 4; ++j)
      r[static_cast<std::size_t>(i)][static_cast<std::size_t>(j)] =
          std::clamp(c(i, j) / std::sqrt(c(i, i) * c(j, j)), -1.0, 1.0);
  return four(r);
}

PositiveProducts::PositiveProducts(const RowMatrix& covariance) : covariance_(covariance) {
  require(covariance.rows() == covariance.cols(), "the covariance must be square");
  covariance_.diagonal() *= 1.0 + jitter;
  const Index n = covariance.rows();
  known_.setConstant(n * n * n * n, -1.0);
}

double PositiveProducts::probability(const Index* set, Index size) {
  std::array<Index, 4> at{};
  for (Index a = 0; a < size; ++a) {  // in order
    Index place = 0;
    for (Index b = 0; b < size; ++b) place += set[b] < set[a] ? 1 : 0;
    at[static_cast<std::size_t>(place)] = set[a];
  }
  const Index n = covariance_.rows();
  double* known = nullptr;
  if (size == 4) {
    known = &known_[((at[0] * n + at[1]) * n + at[2]) * n + at[3]];
    if (*known >= 0.0) return *known;
  }
  std::array<double, 16> part{};
  for (Index a = 0; a < size; ++a)
    for (Index b = 0; b < size; ++b)
      part[static_cast<std::size_t>(4 * a + b)] =
          covariance_(at[static_cast<std::size_t>(a)], at[static_cast<std::size_t>(b)]);
  const double found = orthant_probability(part.data(), size, 4);
  if (known != nullptr) *known = found;
  return found;
}

double PositiveProducts::operator()(Index i, Index j, Index s, Index t) {
  const RowMatrix& c = covariance_;
  std::array<Index, 4> set{i, 0, 0, 0};
  Index size = 1;
  for (const Index next : {j, s, t})
    if (std::find(set.begin(), set.begin() + size, next) == set.begin() + size)
      set[static_cast<std::size_t>(size++)] = next;
  for (Index a = 0; a < size; ++a)
    if (!(c(set[static_cast<std::size_t>(a)], set[static_cast<std::size_t>(a)]) > 0.0)) return 0.0;
  // by parts: u_s meets u_t, or the step of a variable a
  double total = c(s, t) * probability(set.data(), size);
  for (Index x = 0; x < size; ++x) {
    const Index a = set[static_cast<std::size_t>(x)];
    if (a == t) continue;
    // where u_a = 0: by parts again, u_t meets the step of a variable b
    const auto given = [&](Index p, Index q) { return c(p, q) - c(p, a) * c(q, a) / c(a, a); };
    double there = 0.0;
    for (Index y = 0; y < size; ++y) {
      if (y == x) continue;
      const Index b = set[static_cast<std::size_t>(y)];
      const double bb = given(b, b);
      if (!(bb > 0.0)) continue;
      const auto twice = [&](Index p, Index q) {
        return given(p, q) - given(p, b) * given(q, b) / bb;
      };
      std::array<Index, 2> left{};
      Index n_left = 0;
      for (Index z = 0; z < size; ++z)
        if (z != x && z != y)
          left[static_cast<std::size_t>(n_left++)] = set[static_cast<std::size_t>(z)];
      double chance = 0.5;
      if (n_left == 0) chance = 1.0;
      if (n_left == 2) {
        const double mm = twice(left[0], left[0]), nn = twice(left[1], left[1]);
        chance = 0.25 +
                 angle(std::max(mm, 0.0), std::max(nn, 0.0), twice(left[0], left[1])) / (2.0 * pi);
      }
      there += given(t, b) / std::sqrt(2.0 * pi * bb) * chance;
    }
    total += c(s, a) / std::sqrt(2.0 * pi * c(a, a)) * there;
  }
  return total;
}

}  // namespace retemper::numerics

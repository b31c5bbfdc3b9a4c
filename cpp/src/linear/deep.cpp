#include "retemper/linear/deep.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <utility>

#include "retemper/core/error.hpp"
#include "retemper/linear/theory.hpp"

namespace retemper::linear {

namespace {

constexpr double epsilon = std::numeric_limits<double>::epsilon();

struct ScaleRoot {
  double value;
  Index n_iter = 0;
  Status status = Status::converged;
};

/// exp(x) at the root of a monotone f(x) that returns {f, f'}, given an interval that contains it:
/// Newton's method kept inside, to an absolute tolerance in x.
template <class Function>
ScaleRoot log_root(Function&& f, double x, double low, double high) {
  constexpr Index max_iter = 100;
  constexpr double tol = 1e-12;  // of a quadratically convergent step
  for (Index i = 1; i <= max_iter; ++i) {
    const auto [value, slope] = f(x);
    (value * slope > 0.0 ? high : low) = x;
    double next = x - value / slope;
    if (!(next >= low && next <= high)) next = 0.5 * (low + high);
    const double step = std::abs(next - x);
    x = next;
    if (step <= tol * std::max(1.0, std::abs(x))) return {std::exp(x), i};
  }
  return {std::exp(x), max_iter, Status::max_iter};
}

/// t = |b(t)|^{1 - 1/L}, b(t) = (X^T X + m/t)^{-1} (X^T y + m u), m = n ridge > 0, by its
/// components: `pull` = s y + m u in the row space, `null` = |u| outside.
ScaleRoot ridge_scale(const Vector& s, const Vector& pull, double null, double m, double depth) {
  const double power = depth / (depth - 1.0);
  const Eigen::ArrayXd squares = s.array().square();
  // x = log t; f = log |b| - power x falls with a slope between -power and 1 - power
  const auto f = [&](double x) {
    const double t = std::exp(x);
    const Eigen::ArrayXd damp = (m / t) / (squares + m / t);
    const Eigen::ArrayXd parts = (pull.array() / (squares + m / t)).square();
    const double outside = null * null * t * t;
    const double sum = parts.sum() + outside;
    return std::pair(0.5 * std::log(sum) - power * x,
                     ((parts * damp).sum() + outside) / sum - power);
  };
  const double at_one = f(0.0).first;
  const double near = at_one / power, far = at_one * (depth - 1.0);
  constexpr double largest = 300.0;  // t and its square stay finite
  return log_root(f, std::clamp(near, -largest, largest),
                  std::max(std::min(near, far) - 1.0, -largest),
                  std::min(std::max(near, far) + 1.0, largest));
}

/// Ends a descent step: true when done. Throws where the residual has run away.
bool is_finished(Descent& run, double residual, double first, Index iteration,
                 const IterationLimits& limits) {
  run.residual = residual;
  run.n_iter = iteration;
  if (!(residual <= 1e3 * (1.0 + first)))
    throw NumericalError("gradient descent diverged at step " + std::to_string(iteration) +
                         " (residual " + std::to_string(residual) +
                         " of the labels); take a smaller step_size");
  run.status = residual <= limits.tol ? Status::converged : Status::max_iter;
  return run.status == Status::converged || iteration == limits.max_iter;
}

Vector one(double x) {
  return Vector::Constant(1, x);
}

double integer_power(double x, int n) {
  double result = 1.0;
  for (int i = 0; i < n; ++i) result *= x;
  return result;
}

}  // namespace

DeepFit deep_fit(const numerics::ThinSvd& space, const ConstRowMatrixView& y,
                 const ConstRowMatrixView& source, double depth, double ridge) {
  const Vector& s = space.s;
  const Index k = y.cols(), d = space.v.cols(), rank = s.size();
  const double m = ridge * static_cast<double>(y.rows());
  require(depth >= 1.0, "depth must be at least 1");
  require(y.rows() == space.u.rows(), "X and y differ in their number of samples");
  require(source.rows() == k && source.cols() == d, "source must have shape (n_outputs, d)");
  require(ridge == 0.0 || depth == 1.0 || (ridge > 0.0 && std::isfinite(depth)),
          "ridge must be 0 at infinite depth and non-negative at depth above 1");
  require(rank == 0 || s[rank - 1] * s[rank - 1] + m > 0.0,
          "ridge must exceed minus the smallest non-zero eigenvalue of X^T X / n");

  DeepFit fit{RowMatrix(k, d), Vector(k), Vector(k), Vector(k), Vector(k), Vector(k), {}, {}};
  const Matrix labels = numerics::product(space.u.transpose(), y);       // (rank, k)
  const Matrix inside = numerics::product(space.v, source.transpose());  // (rank, k)
  for (Index j = 0; j < k; ++j) {
    const Vector null = source.row(j).transpose() - space.v.transpose() * inside.col(j);
    const Vector least = labels.col(j).cwiseQuotient(s);
    const double norm = source.row(j).norm();
    const double a = least.norm(), q = null.norm();
    double p = inside.col(j).norm();
    if (p <= epsilon * static_cast<double>(std::max(y.rows(), d)) * norm) p = 0.0;
    require(std::isfinite(depth) || norm == 0.0 || p > 0.0 || a == 0.0,
            "depth inf has no finite limit: the source is orthogonal to every row of X");

    ScaleRoot root{depth == 1.0 || (norm > 0.0 && a == 0.0 && p == 0.0) ? 1.0 : 0.0};
    Vector row = least;  // (rank,) the answer inside the row space
    if (depth == 1.0) {
      row = (s.cwiseProduct(labels.col(j)) + m * inside.col(j)).array() / (s.array().square() + m);
    } else if (m == 0.0) {
      if (root.value == 0.0) {
        const DeepScale found = deep_scale(one(a * a), one(p * p), one(q * q), one(depth));
        root = {found.scale[0], found.n_iter[0]};
      }
    } else {
      const double to_dual = norm > 0.0 ? std::pow(norm, 1.0 / depth - 1.0) : 0.0;
      const Vector pull = s.cwiseProduct(labels.col(j)) + (m * to_dual) * inside.col(j);
      if (pull.squaredNorm() + q * q > 0.0) {
        root = ridge_scale(s, pull, q * to_dual, m, depth);
        row = pull.array() / (s.array().square() + m / root.value);
        root.value *= to_dual;
      } else {
        row.setZero();
      }
    }
    const Vector coef = space.v.transpose() * row + root.value * null;
    fit.coef.row(j) = coef.transpose();
    fit.source_scale[j] = root.value;
    fit.fit_norm[j] = a;
    fit.row_norm[j] = p;
    fit.null_norm[j] = q;
    const double should = norm > 0.0 ? std::pow(coef.norm() / norm, 1.0 - 1.0 / depth) : root.value;
    fit.residual[j] = std::abs(root.value - should) / std::max(1.0, should);
    fit.n_iter.push_back(root.n_iter);
    const bool runs_into_zero = depth > 1.0 && ridge == 0.0 && norm > 0.0 && rank == 1 &&
                                q <= 1e-12 * norm && least.dot(inside.col(j)) <= 0.0;
    fit.status.push_back(runs_into_zero ? Status::stalled : root.status);
  }
  return fit;
}

Descent factor_descent(const ConstVectorView& s, const ConstRowMatrixView& y, Index n_samples,
                       std::vector<RowMatrix> factors, double step_size,
                       const IterationLimits& limits, Control& control) {
  require(!factors.empty(), "factors must hold at least one matrix");
  const auto depth = factors.size();
  require(factors.front().cols() == s.size() && factors.back().rows() == y.rows(),
          "factors must map the features to the outputs");
  for (std::size_t j = 1; j < depth; ++j)
    require(factors[j].cols() == factors[j - 1].rows(), "factors must fit together");

  Descent run{std::move(factors), 0.0, 0, Status::max_iter};
  const auto n = static_cast<double>(n_samples);
  const double label_norm = y.norm() > 0.0 ? y.norm() : 1.0;
  std::vector<RowMatrix> below(depth);  // below[j] = W_{j+1} .. W_1, counted from W_1 at 0
  double first = 0.0;
  for (Index iteration = 0;; ++iteration) {
    control.check();
    below[0] = run.factors[0];
    for (std::size_t j = 1; j < depth; ++j) {
      below[j].resize(run.factors[j].rows(), below[j - 1].cols());
      numerics::set_product(run.factors[j], below[j - 1], below[j]);
    }
    RowMatrix error = below[depth - 1] * s.asDiagonal() - y;
    const double residual = error.norm() / label_norm;
    if (iteration == 0) first = residual;
    if (is_finished(run, residual, first, iteration, limits)) return run;
    RowMatrix back = error * s.asDiagonal() * (step_size / n);  // W_L^T .. W_{j+1}^T gradient
    for (std::size_t j = depth - 1; j > 0; --j) {
      RowMatrix next(run.factors[j].cols(), back.cols());
      numerics::set_product(run.factors[j].transpose(), back, next);
      numerics::add_product(back, below[j - 1].transpose(), run.factors[j], -1.0);
      back = std::move(next);
    }
    run.factors[0] -= back;
  }
}

Descent rank_one_descent(const ConstVectorView& s, const ConstVectorView& y, Index n_samples,
                         const ConstVectorView& source, double null_square, int depth,
                         double step_size, const IterationLimits& limits, Control& control) {
  require(depth >= 1, "depth must be at least 1");
  require(source.size() == s.size() && y.size() == s.size(), "s, y and source differ in length");
  const double norm = std::sqrt(source.squaredNorm() + null_square);
  const double rate = step_size / static_cast<double>(n_samples);
  const double label_norm = y.norm() > 0.0 ? y.norm() : 1.0;
  double a = std::pow(norm, 1.0 / depth);
  Eigen::ArrayXd v = source.array() * (norm > 0.0 ? a / norm : 0.0);
  Eigen::ArrayXd error(s.size()), slope(s.size());

  Descent run{{RowMatrix(1, s.size()), RowMatrix(1, 1)}, 0.0, 0, Status::max_iter};
  double first = 0.0;
  for (Index iteration = 0;; ++iteration) {
    if (iteration % 64 == 0) control.check();
    const double outer = integer_power(a, std::max(0, depth - 2));
    const double gain = depth > 1 ? outer * a : 1.0;
    error = gain * (s.array() * v) - y.array();
    const double residual = error.matrix().norm() / label_norm;
    if (iteration == 0) first = residual;
    if (is_finished(run, residual, first, iteration, limits)) break;
    slope = rate * (s.array() * error);
    if (depth > 1) a -= outer * (v * slope).sum();
    v -= gain * slope;
  }
  run.factors[0] = v.matrix().transpose();
  run.factors[1](0, 0) = a;
  return run;
}

}  // namespace retemper::linear

#include "retemper/numerics/bdf.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "retemper/core/error.hpp"

namespace retemper::numerics {

namespace {

constexpr Index max_order = 5;
constexpr Index max_inner = 4;
constexpr double most_stale = 0.3;  // change of the step for which a factor is still used
constexpr double eps = std::numeric_limits<double>::epsilon();

struct Formula {
  std::array<double, max_order + 2> gamma{}, alpha{}, error{};
  Formula() {
    const std::array<double, max_order + 2> kappa{0.0, -0.1850, -1.0 / 9.0, -0.0823, -0.0415, 0.0};
    for (std::size_t k = 0; k < gamma.size(); ++k) {
      if (k > 0) gamma[k] = gamma[k - 1] + 1.0 / static_cast<double>(k);
      alpha[k] = (1.0 - kappa[k]) * gamma[k];
      error[k] = kappa[k] * gamma[k] + 1.0 / static_cast<double>(k + 1);
    }
  }
};

/// Backward differences of a step, from those of a step `factor` times shorter.
Matrix rescaling(Index order, double factor) {
  Matrix out(order + 1, order + 1);
  out.row(0).setOnes();
  for (Index i = 1; i <= order; ++i) {
    for (Index j = 0; j <= order; ++j) {
      out(i, j) = j == 0 ? 0.0
                         : out(i - 1, j) *
                               (static_cast<double>(i) - 1.0 - factor * static_cast<double>(j)) /
                               static_cast<double>(i);
    }
  }
  return out;
}

class Bdf {
 public:
  Bdf(const StiffSystem& system, double t0, const Vector& y0, const OdeLimits& limits, double end)
      : system_(system),
        limits_(limits),
        t_(t0),
        differences_(Matrix::Zero(y0.size(), max_order + 3)),
        origin_(Vector::Zero(y0.size())),
        dy_(y0.size()) {
    inner_tol_ = std::max(10.0 * eps / limits.rtol, std::min(0.03, std::sqrt(limits.rtol)));
    system_.rhs(y0, dy_);
    if (!dy_.allFinite()) throw NumericalError("the derivative is not finite at the start");
    differences_.col(0) = y0;
    h_ = std::min(first_step(y0), end - t0);
    differences_.col(1) = h_ * dy_;
  }

  /// One accepted step; false if the step vanished or steps ran out. Where the origin moves it ends
  /// at `next` at the latest: digits of a large y would be lost between steps.
  bool step(double next, Trajectory& out) {
    bool has_fresh_jacobian = false;
    for (;;) {
      const bool is_last = system_.move_origin && t_ + h_ >= next;
      if (is_last && t_ + h_ > next) rescale((next - t_) / h_);
      if (out.n_steps + out.n_rejected >= limits_.max_steps) {
        out.status = Status::max_iter;
        return false;
      }
      if (!system_.move_origin && h_ < 16.0 * eps * std::abs(t_)) {
        out.status = Status::stalled;
        return false;
      }
      const auto k = static_cast<std::size_t>(order_);
      const Vector predicted = differences_.leftCols(order_ + 1).rowwise().sum();
      Vector psi = Vector::Zero(predicted.size());
      for (std::size_t j = 1; j <= k; ++j)
        psi += formula_.gamma[j] * differences_.col(static_cast<Index>(j));
      psi /= formula_.alpha[k];
      scale_ = limits_.atol + limits_.rtol * predicted.array().abs();
      const double c = h_ / formula_.alpha[k];
      if (needs_jacobian_ || !(std::abs(c / factored_ - 1.0) <= most_stale)) {
        system_.factor(predicted, 1.0 / c, needs_jacobian_);
        has_fresh_jacobian = needs_jacobian_ || has_fresh_jacobian;
        needs_jacobian_ = false;
        factored_ = c;
        rate_ = 0.0;
      }
      damping_ = 2.0 / (1.0 + c / factored_);  // best single factor for a matrix of another step
      Vector change = Vector::Zero(predicted.size());
      Vector y = predicted;
      if (!iterate(c, psi, has_fresh_jacobian, change, y) || !may_be_origin(y)) {
        ++out.n_rejected;
        if (has_fresh_jacobian && factored_ == c) {
          // the prediction was too far: so was the point of the Jacobian, perhaps by many orders
          rescale(0.5);
          has_fresh_jacobian = false;
        }
        needs_jacobian_ = !has_fresh_jacobian;
        factored_ = 0.0;
        continue;
      }
      scale_ = limits_.atol + limits_.rtol * y.array().abs();
      const double safety = 0.9 * static_cast<double>(2 * max_inner + 1) /
                            static_cast<double>(2 * max_inner + n_inner_);
      const double error = formula_.error[k] * norm(change);
      if (!(error <= 1.0)) {
        ++out.n_rejected;
        rescale(std::max(0.2, safety * power(error, order_)));
        continue;
      }
      ++out.n_steps;
      ++n_equal_;
      t_ = is_last ? next : t_ + h_;
      differences_.col(order_ + 2) = change - differences_.col(order_ + 1);
      differences_.col(order_ + 1) = change;
      for (Index i = order_; i >= 0; --i) differences_.col(i) += differences_.col(i + 1);
      last_ = {differences_.leftCols(order_ + 1), t_, h_, order_};
      if (n_equal_ > order_) choose_order(error, safety);
      return true;
    }
  }

  double t() const { return t_; }

  /// Solution at a time within the last step, from the origin; to be asked before the next step.
  Vector at(double time) const { return interpolate(last_, time); }

  const Vector& origin() const { return origin_; }

  bool may_be_origin(const Vector& y) {
    if (!system_.move_origin) return true;
    system_.rhs(y, dy_);
    return dy_.allFinite();
  }

  void move_origin() {
    if (!system_.move_origin) return;
    system_.move_origin(differences_.col(0));
    origin_ += differences_.col(0);
    differences_.col(0).setZero();
  }

 private:
  struct Local {
    Matrix differences;
    double t = 0.0, h = 0.0;
    Index order = 1;
  };

  Vector interpolate(const Local& local, double time) const {
    Vector y = local.differences.col(0);
    double product = 1.0;
    for (Index j = 0; j < local.order; ++j) {
      const auto shift = static_cast<double>(j);
      product *= (time - (local.t - local.h * shift)) / (local.h * (1.0 + shift));
      y += product * local.differences.col(j + 1);
    }
    return y;
  }

  double norm(const Vector& x) const {
    return std::sqrt((x.array() / scale_.array()).square().mean());
  }

  static double power(double error, Index order) {
    return error > 0.0 ? std::pow(error, -1.0 / static_cast<double>(order + 1)) : 10.0;
  }

  double first_step(const Vector& y0) {
    scale_ = limits_.atol + limits_.rtol * y0.array().abs();
    const double d0 = norm(y0), d1 = norm(dy_);
    if (d1 == 0.0) return std::numeric_limits<double>::max();
    const double h0 = d0 > 1e-5 ? 0.01 * d0 / d1 : 0.01 / d1;
    Vector next(y0.size());
    system_.rhs(y0 + h0 * dy_, next);
    const double d2 = norm(next - dy_) / h0;
    return std::min(100.0 * h0, d2 > 0.0 ? std::sqrt(0.02 / d2) : 100.0 * h0);
  }

  /// Simplified Newton iteration for c f(y) = psi + change. The rate seen with the present factor
  /// is remembered, so that one evaluation of f is often enough. With a Jacobian of this very
  /// prediction, an iterate that moves by rounding alone has converged, whatever its rate.
  bool iterate(double c, const Vector& psi, bool has_fresh_jacobian, Vector& change, Vector& y) {
    double before = -1.0;
    for (n_inner_ = 1; n_inner_ <= max_inner; ++n_inner_) {
      system_.rhs(y, dy_);
      if (!dy_.allFinite()) return false;
      Vector b = dy_ - (psi + change) / c;  // times c, over c
      system_.solve(b);
      b *= damping_;
      const double size = norm(b);
      if (!std::isfinite(size)) return false;
      if (size == 0.0 || (has_fresh_jacobian && size <= 100.0 * eps * norm(y))) {
        y += b;
        change += b;
        return true;
      }
      if (before > 0.0) rate_ = std::max(0.9 * rate_, size / before);
      const auto left = static_cast<double>(max_inner - n_inner_);
      const double still =
          rate_ < 1.0 ? rate_ / (1.0 - rate_) * size : std::numeric_limits<double>::infinity();
      if (before > 0.0 && !(std::pow(rate_, left) * still <= inner_tol_ * rate_)) return false;
      y += b;
      change += b;
      if (rate_ > 0.0 && still < inner_tol_) return true;
      before = size;
    }
    return false;
  }

  void rescale(double factor) {
    const Matrix both = rescaling(order_, factor) * rescaling(order_, 1.0);
    differences_.leftCols(order_ + 1) = (differences_.leftCols(order_ + 1) * both).eval();
    h_ *= factor;
    n_equal_ = 0;
  }

  void choose_order(double error, double safety) {
    const auto k = static_cast<std::size_t>(order_);
    double best = power(error, order_);
    Index next = order_;
    if (order_ > 1) {
      const double lower =
          power(formula_.error[k - 1] * norm(differences_.col(order_)), order_ - 1);
      if (lower > best) best = lower, next = order_ - 1;
    }
    if (order_ < max_order) {
      const double higher =
          power(formula_.error[k + 1] * norm(differences_.col(order_ + 2)), order_ + 1);
      if (higher > best) best = higher, next = order_ + 1;
    }
    const double factor = std::min(10.0, safety * best);
    if (next == order_ && factor > 0.9 && factor < 1.2) return;  // not worth a change
    order_ = next;
    rescale(factor);
  }

  const StiffSystem& system_;
  const OdeLimits& limits_;
  const Formula formula_;
  double t_, h_ = 0.0, inner_tol_ = 0.0, factored_ = 0.0, rate_ = 0.0, damping_ = 1.0;
  Matrix differences_;
  Vector origin_, dy_, scale_;
  Index order_ = 1, n_equal_ = 0, n_inner_ = 0;
  bool needs_jacobian_ = true;
  Local last_;
};

}  // namespace

Trajectory integrate_bdf(const StiffSystem& system, double t0, const Vector& y0,
                         const ConstVectorView& times, const OdeLimits& limits, Control& control) {
  const Index n_times = times.size();
  require(n_times > 0, "times must not be empty");
  require(times[0] >= t0, "times must not lie before the start");
  for (Index i = 1; i < n_times; ++i) require(times[i] > times[i - 1], "times must increase");
  require(std::isfinite(times[n_times - 1]), "times must be finite");
  require(limits.rtol > 0.0 && limits.atol > 0.0, "tolerances must be positive");
  Trajectory out;
  RowMatrix found(n_times, y0.size());
  Index done = 0;
  const auto put = [&](const Vector& y, const Vector& origin) {
    if (system.output) system.output(done, y);
    found.row(done++) = (origin + y).transpose();
  };
  while (done < n_times && times[done] == t0) put(y0, Vector::Zero(y0.size()));
  out.t = t0;
  if (done < n_times) {
    Bdf bdf(system, t0, y0, limits, times[n_times - 1]);
    while (done < n_times) {
      control.check();
      if (!bdf.step(times[done], out)) break;
      out.t = bdf.t();
      while (done < n_times && times[done] <= bdf.t()) put(bdf.at(times[done]), bdf.origin());
      bdf.move_origin();
    }
  }
  out.y = found.topRows(done);
  return out;
}

}  // namespace retemper::numerics

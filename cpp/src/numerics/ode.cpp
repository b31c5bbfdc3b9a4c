#include "retemper/numerics/ode.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "retemper/core/error.hpp"

namespace retemper::numerics {

namespace {

constexpr double epsilon = std::numeric_limits<double>::epsilon();

/// One step of size h from (t, y): the new state, its estimated error, and the curve between.
class DormandPrince {
 public:
  static constexpr double error_power = 1.0 / 5.0;

  DormandPrince(const OdeRhs& f, double t0, const Vector& y0) : f_(f) {
    for (Vector& k : k_) k.resize(y0.size());
    f_(t0, y0, k_[0]);
  }

  const Vector& slope() const { return k_[0]; }

  void attempt(double t, const Vector& y, double h, bool /*is_new*/, Vector& y_new, Vector& error) {
    for (std::size_t i = 1; i < 7; ++i) {
      y_new = y;
      for (std::size_t j = 0; j < i; ++j)
        if (a[i - 1][j] != 0.0) y_new += h * a[i - 1][j] * k_[j];
      f_(t + c[i - 1] * h, y_new, k_[i]);
    }
    combine(e, h, error);
    change_ = y_new - y;
    bend_ = h * k_[0] - change_;
    twist_ = change_ - h * k_[6] - bend_;
    combine(d, h, quirk_);
  }

  /// Moves on to the end of the last attempt.
  void accept() { std::swap(k_[0], k_[6]); }

  /// The state at the fraction s of the last attempt, which began at y.
  Vector between(const Vector& y, const Vector& /*y_new*/, double s) const {
    const double r = 1.0 - s;
    return y + s * (change_ + r * (bend_ + s * (twist_ + r * quirk_)));
  }

 private:
  void combine(const std::array<double, 7>& weight, double h, Vector& out) const {
    out = h * weight[0] * k_[0];
    for (std::size_t i = 2; i < 7; ++i) out += h * weight[i] * k_[i];
  }

  static constexpr double c[6] = {1.0 / 5, 3.0 / 10, 4.0 / 5, 8.0 / 9, 1.0, 1.0};
  static constexpr double a[6][6] = {
      {1.0 / 5},
      {3.0 / 40, 9.0 / 40},
      {44.0 / 45, -56.0 / 15, 32.0 / 9},
      {19372.0 / 6561, -25360.0 / 2187, 64448.0 / 6561, -212.0 / 729},
      {9017.0 / 3168, -355.0 / 33, 46732.0 / 5247, 49.0 / 176, -5103.0 / 18656},
      {35.0 / 384, 0.0, 500.0 / 1113, 125.0 / 192, -2187.0 / 6784, 11.0 / 84}};
  static constexpr std::array<double, 7> e{
      71.0 / 57600, 0.0, -71.0 / 16695, 71.0 / 1920, -17253.0 / 339200, 22.0 / 525, -1.0 / 40};
  static constexpr std::array<double, 7> d{
      -12715105075.0 / 11282082432.0,  0.0,
      87487479700.0 / 32700410799.0,   -10690763975.0 / 1880347072.0,
      701980252875.0 / 199316789632.0, -1453857185.0 / 822651844.0,
      69997945.0 / 29380423.0};
  const OdeRhs& f_;
  std::array<Vector, 7> k_;
  Vector change_, bend_, twist_, quirk_;
};

class Rodas {
 public:
  static constexpr double error_power = 1.0 / 4.0;

  Rodas(const StiffSystem& system, const Vector& y0) : system_(system), slope_(y0.size()) {
    for (Vector& u : u_) u.resize(y0.size());
    system_.rhs(y0, slope_);
  }

  const Vector& slope() const { return slope_; }

  void attempt(double /*t*/, const Vector& y, double h, bool is_new, Vector& y_new, Vector& error) {
    system_.factor(y, 1.0 / (h * gamma), is_new);
    if (is_new) system_.rhs(y, slope_);
    y_new = y;
    for (std::size_t i = 0; i < 6; ++i) {
      if (i == 0) {
        u_[i] = slope_;
      } else {
        if (i < 5) {
          y_new = y;
          for (std::size_t j = 0; j < i; ++j) y_new += a[i - 1][j] * u_[j];
        } else {
          y_new += u_[4];
        }
        system_.rhs(y_new, u_[i]);
        for (std::size_t j = 0; j < i; ++j) u_[i] += c[i - 1][j] / h * u_[j];
      }
      system_.solve(u_[i]);
    }
    y_new += u_[5];
    error = u_[5];
  }

  void accept() {}

  Vector between(const Vector& y, const Vector& y_new, double s) const {
    Vector bend = Vector::Zero(y.size());
    for (std::size_t j = 0; j < 5; ++j) bend += (d[0][j] + s * d[1][j]) * u_[j];
    return (1.0 - s) * y + s * (y_new + (1.0 - s) * bend);
  }

 private:
  static constexpr double gamma = 0.25;
  static constexpr double a[4][4] = {
      {1.544},
      {0.9466785280815826, 0.2557011698983284},
      {3.314825187068521, 2.896124015972201, 0.9986419139977817},
      {1.221224509226641, 6.019134481288629, 12.53708332932087, -0.6878860361058950}};
  static constexpr double c[5][5] = {
      {-5.6688},
      {-2.430093356833875, -0.2063599157091915},
      {-0.1073529058151375, -9.594562251023355, -20.47028614809616},
      {7.496443313967647, -10.24680431464352, -33.99990352819905, 11.70890893206160},
      {8.083246795921522, -7.981132988064893, -31.52159432874371, 16.31930543123136,
       -6.058818238834054}};
  static constexpr double d[2][5] = {{10.12623508344586, -7.487995877610167, -34.80091861555747,
                                      -7.992771707568823, 1.025137723295662},
                                     {-0.6762803392801253, 6.087714651680015, 16.43084320892478,
                                      24.76722511418386, -6.594389125716872}};
  const StiffSystem& system_;
  std::array<Vector, 6> u_;
  Vector slope_;
};

void check_arguments(double t0, const Vector& y0, const ConstVectorView& times,
                     const OdeLimits& limits) {
  require(limits.rtol > 0.0 && limits.atol >= 0.0, "rtol must be positive, atol not negative");
  require(std::isfinite(t0) && times.allFinite() && y0.allFinite(),
          "the start and the output times must be finite");
  require(times.size() > 0 && times[0] >= t0 && std::is_sorted(times.begin(), times.end()),
          "output times must increase and start no earlier than t0");
}

double scaled_norm(const Vector& v, const Vector& y, const Vector& y_new, const OdeLimits& limits) {
  const auto scale = limits.atol + limits.rtol * y.array().abs().max(y_new.array().abs());
  return v.size() == 0 ? 0.0 : std::sqrt((v.array() / scale).square().mean());
}

template <class Method>
Trajectory integrate(Method& method, double t0, Vector y, const ConstVectorView& times,
                     const OdeLimits& limits, Control& control) {
  if (!method.slope().allFinite())
    throw NumericalError("the right-hand side is not finite at the start");
  Trajectory out;
  out.t = t0;
  out.y.resize(times.size(), y.size());
  const double end = times[times.size() - 1];
  Index row = 0;
  while (row < times.size() && times[row] <= t0) out.y.row(row++) = y;

  const double slope = scaled_norm(method.slope(), y, y, limits);
  double h = slope > 0.0 ? 0.01 * std::max(1.0, scaled_norm(y, y, y, limits)) / slope : end - t0;
  bool is_new = true;
  Vector y_new(y.size()), error(y.size());
  while (row < times.size()) {
    control.check();
    const bool is_last = 1.01 * h >= end - out.t;  // leave no sliver
    if (is_last) h = end - out.t;
    if (out.n_steps + out.n_rejected >= limits.max_steps) out.status = Status::max_iter;
    if (h <= 4.0 * epsilon * std::abs(out.t)) out.status = Status::stalled;
    if (out.status != Status::converged) break;
    method.attempt(out.t, y, h, is_new, y_new, error);
    const double size = scaled_norm(error, y, y_new, limits);
    const bool is_accepted = size <= 1.0 && y_new.allFinite();  // false for NaN
    double factor = 0.2;
    if (std::isfinite(size))
      factor = std::clamp(0.9 * std::pow(size, -Method::error_power), 0.2, is_accepted ? 5.0 : 1.0);
    if (is_accepted) {
      const double t_new = is_last ? end : out.t + h;
      for (; row < times.size() && times[row] <= t_new; ++row)
        out.y.row(row) =
            times[row] == t_new ? y_new : method.between(y, y_new, (times[row] - out.t) / h);
      out.t = t_new;
      y.swap(y_new);
      method.accept();
      ++out.n_steps;
    } else {
      ++out.n_rejected;
    }
    is_new = is_accepted;
    h *= factor;
  }
  out.y.conservativeResize(row, Eigen::NoChange);
  return out;
}

}  // namespace

Trajectory integrate_explicit(const OdeRhs& f, double t0, const Vector& y0,
                              const ConstVectorView& times, const OdeLimits& limits,
                              Control& control) {
  check_arguments(t0, y0, times, limits);
  DormandPrince method(f, t0, y0);
  return integrate(method, t0, y0, times, limits, control);
}

Trajectory integrate_stiff(const StiffSystem& system, double t0, const Vector& y0,
                           const ConstVectorView& times, const OdeLimits& limits,
                           Control& control) {
  check_arguments(t0, y0, times, limits);
  Rodas method(system, y0);
  return integrate(method, t0, y0, times, limits, control);
}

}  // namespace retemper::numerics

#include "retemper/numerics/fixed_point.hpp"

#include <Eigen/QR>
#include <algorithm>
#include <limits>
#include <string>

#include "retemper/core/error.hpp"

namespace retemper::numerics {

namespace {

constexpr Index patience = 100;

/// The last few differences of iterates and residuals, as columns in a ring.
class History {
 public:
  History(Index n, Index memory) : dx_(n, memory), df_(n, memory) {}

  void clear() { count_ = 0; }

  void add(const Vector& dx, const Vector& df) {
    const Index at = count_++ % dx_.cols();
    dx_.col(at) = dx;
    df_.col(at) = df;
  }

  /// The combined step for residual f, where `mixing` of it is to be taken.
  Vector step(const Vector& f, double mixing) const {
    const Index m = std::min(count_, dx_.cols());
    if (m == 0) return mixing * f;
    const Vector weight = df_.leftCols(m).colPivHouseholderQr().solve(f);
    return mixing * (f - df_.leftCols(m) * weight) - dx_.leftCols(m) * weight;
  }

 private:
  Matrix dx_, df_;
  Index count_ = 0;
};

}  // namespace

FixedPoint fixed_point(const FixedPointMap& g, Vector x0, const IterationLimits& limits,
                       Control& control, Index memory) {
  require(limits.damping >= 0.0 && limits.damping < 1.0, "damping must lie in [0, 1)");
  require(memory >= 0, "memory must not be negative");
  const double mixing = 1.0 - limits.damping;
  memory = std::min(memory, x0.size());
  History history(x0.size(), memory);
  FixedPoint best;
  best.residual = std::numeric_limits<double>::infinity();
  best.x = x0;
  Vector x = std::move(x0), out(x.size()), f(x.size()), best_f(x.size());
  Vector x_before, f_before;
  bool is_plain = true;  // whether x came from a plain step
  for (Index last_gain = 0; best.n_iter < limits.max_iter;) {
    control.check();
    g(x, out);
    ++best.n_iter;
    f = out - x;
    const double size = x.size() == 0 ? 0.0 : x.cwiseAbs().maxCoeff();
    const bool is_finite = f.allFinite();
    const double residual = f.size() == 0 ? 0.0 : f.cwiseAbs().maxCoeff() / std::max(1.0, size);
    if (!is_finite && is_plain)
      throw NumericalError("fixed point: the map is not finite at evaluation " +
                           std::to_string(best.n_iter));
    if (is_finite && residual < best.residual) {
      best.residual = residual;
      best.x = x;
      best_f = f;
      last_gain = best.n_iter;
    }
    if (best.residual <= limits.tol) return best;
    if (best.n_iter - last_gain >= patience) {
      best.status = Status::stalled;
      return best;
    }
    if (!is_plain && (!is_finite || residual > 10.0 * best.residual)) {
      history.clear();
      x = best.x + mixing * best_f;
      x_before.resize(0);
      is_plain = true;
      continue;
    }
    if (memory > 0) {
      if (x_before.size() > 0) history.add(x - x_before, f - f_before);
      x_before = x;
      f_before = f;
      is_plain = false;
      x += history.step(f, mixing);
    } else {
      x += mixing * f;
    }
  }
  best.status = Status::max_iter;
  return best;
}

}  // namespace retemper::numerics

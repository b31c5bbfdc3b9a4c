#include "retemper/phases/two_layer.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "retemper/core/error.hpp"
#include "retemper/numerics/linalg.hpp"
#include "retemper/numerics/orthant.hpp"

namespace retemper::phases {

namespace {

constexpr double pi = 3.14159265358979323846;

/// Averages of two units g(u), g(s) of normal inputs.
struct Pair {
  double product;  // E g(u) g(s)
  double slopes;   // E g'(u) g'(s)
  double bends;    // E g''(u) g(s)
};

/// a, b: variances of u and s; c: their covariance; is_same: whether s is u.
Pair averages(UnitKind kind, double a, double b, double c, bool is_same) {
  if (kind == UnitKind::linear) return {c, 1.0, 0.0};
  if (kind == UnitKind::erf) {
    const double area = (1.0 + a) * (1.0 + b);
    const double slopes = 2.0 / pi / std::sqrt(area - c * c);
    return {2.0 / pi * std::asin(c / std::sqrt(area)), slopes, -c / (1.0 + a) * slopes};
  }
  if (is_same) return {0.5 * a, 0.5, 0.0};
  const double root = std::sqrt(a * b);
  const double rho = root > 0.0 ? std::clamp(c / root, -1.0, 1.0) : 0.0;
  const double angle = pi - std::acos(rho), sine = std::sqrt(1.0 - rho * rho);
  const double ratio = a > 0.0 ? std::sqrt(b / a) : 0.0;
  return {root * (sine + angle * rho) / (2.0 * pi), angle / (2.0 * pi), ratio * sine / (2.0 * pi)};
}

/// Covariances, gradients and moves of one problem, in room made once.
class Motion {
 public:
  Motion(const TwoLayerProblem& problem, Index n_units)
      : problem_(problem),
        k_(n_units),
        m_(problem.teacher.rows()),
        covariance_(k_ + m_, k_ + m_),
        along_(k_, k_ + m_),
        noise_(k_, k_) {
    const Index p = problem.spectrum.size();
    require(p > 0 && problem.teacher.cols() == p && m_ > 0 &&
                problem.teacher_readout.size() == m_ && n_units > 0 &&
                problem.values.size() == problem.counts.size(),
            "the sizes of the problem disagree");
    weights_.resize(k_ + m_);
    weights_.tail(m_) = -problem.teacher_readout;
    for (Index i = 0; i < m_; ++i) {
      for (Index j = 0; j < m_; ++j) {
        covariance_(k_ + i, k_ + j) =
            overlap(problem.teacher.row(i).data(), problem.teacher.row(j).data());
      }
    }
  }

  /// Covariance of the inputs of all units, the network's first.
  void take(const double* w, const double* readout, const RowMatrix* spread) {
    const Index p = problem_.spectrum.size();
    for (Index i = 0; i < k_; ++i) {
      weights_[i] = readout[i];
      for (Index j = 0; j <= i; ++j) covariance_(i, j) = overlap(w + i * p, w + j * p);
      for (Index j = 0; j < m_; ++j) {
        const double c = overlap(w + i * p, problem_.teacher.row(j).data());
        covariance_(i, k_ + j) = covariance_(k_ + j, i) = c;
      }
    }
    for (Index i = 0; i < k_; ++i) {
      for (Index j = 0; j <= i; ++j) {
        double c = covariance_(i, j);
        if (spread != nullptr) {
          for (Index g = 0; g < spread->rows(); ++g)
            c += problem_.values[g] * (*spread)(g, i * k_ + j);
        }
        covariance_(i, j) = covariance_(j, i) = c;
      }
    }
  }

  /// Minus the gradient of the mean squared error / 2: move (K, p), push (K,).
  void pull(const double* w, double* move, double* push) {
    const Index p = problem_.spectrum.size();
    for (Index i = 0; i < k_; ++i) {
      double own = 0.0, error = 0.0;
      for (Index j = 0; j < k_ + m_; ++j) {
        const Pair pair = averages(problem_.kind, covariance_(i, i), covariance_(j, j),
                                   covariance_(i, j), i == j);
        along_(i, j) = -weights_[i] * weights_[j] * pair.slopes;
        own -= weights_[j] * pair.bends;
        error += weights_[j] * pair.product;
      }
      along_(i, i) += weights_[i] * own;
      push[i] = -error;
    }
    std::fill(move, move + k_ * p, 0.0);
    for (Index i = 0; i < k_; ++i) {
      double* out = move + i * p;
      for (Index j = 0; j < k_ + m_; ++j) {
        const double* in = j < k_ ? w + j * p : problem_.teacher.row(j - k_).data();
        const double c = along_(i, j);
        for (Index d = 0; d < p; ++d) out[d] += c * in[d];
      }
      for (Index d = 0; d < p; ++d) out[d] *= problem_.spectrum[d];
    }
  }

  /// Matrix that moves the units along one another, without the eigenvalue: (K, K + M).
  const RowMatrix& along() const { return along_; }

  /// E of v_i g'(u_i) v_j g'(u_j) (f - y)^2. Slopes of relu units are steps; those of erf units are
  /// normal densities, and tilt the law.
  const RowMatrix& gradient_noise(Control& control) {
    const Index n = k_ + m_;
    if (problem_.kind == UnitKind::relu) return positive_noise(control);
    for (Index i = 0; i < k_; ++i) {
      for (Index j = 0; j <= i; ++j) {
        const Pair pair = averages(problem_.kind, covariance_(i, i), covariance_(j, j),
                                   covariance_(i, j), i == j);
        double squared = problem_.noise_var;
        const double aa = 1.0 + covariance_(i, i), bb = 1.0 + covariance_(j, j);
        const double ab = covariance_(i, j), det = aa * bb - ab * ab;
        const bool is_linear = problem_.kind == UnitKind::linear;
        const auto tilted = [&](Index s, Index t) {
          if (is_linear) return covariance_(s, t);
          const double x = covariance_(s, i), y = covariance_(s, j);
          const double u = covariance_(t, i), v = covariance_(t, j);
          return covariance_(s, t) - (bb * x * u - ab * (x * v + y * u) + aa * y * v) / det;
        };
        for (Index s = 0; s < n; ++s) {
          const double var = tilted(s, s);
          squared +=
              weights_[s] * weights_[s] * averages(problem_.kind, var, var, var, true).product;
          for (Index t = 0; t < s; ++t) {
            squared += 2.0 * weights_[s] * weights_[t] *
                       averages(problem_.kind, var, tilted(t, t), tilted(s, t), false).product;
          }
        }
        noise_(i, j) = noise_(j, i) = weights_[i] * weights_[j] * pair.slopes * squared;
      }
    }
    return noise_;
  }

 private:
  const RowMatrix& positive_noise(Control& control) {
    const Index n = k_ + m_;
    numerics::PositiveProducts products(covariance_);
    for (Index i = 0; i < k_; ++i) {
      for (Index j = 0; j <= i; ++j) {
        control.check();
        double squared = problem_.noise_var * averages(problem_.kind, covariance_(i, i),
                                                       covariance_(j, j), covariance_(i, j), i == j)
                                                  .slopes;
        for (Index s = 0; s < n; ++s) {
          for (Index t = 0; t <= s; ++t) {
            squared += (s == t ? 1.0 : 2.0) * weights_[s] * weights_[t] * products(i, j, s, t);
          }
        }
        noise_(i, j) = noise_(j, i) = weights_[i] * weights_[j] * squared;
      }
    }
    return noise_;
  }

  double overlap(const double* a, const double* b) const {
    double sum = 0.0;
    for (Index d = 0; d < problem_.spectrum.size(); ++d) sum += problem_.spectrum[d] * a[d] * b[d];
    return sum;
  }

  const TwoLayerProblem& problem_;
  Index k_, m_;
  RowMatrix covariance_, along_, noise_;
  Vector weights_;
};

void check(const TwoLayerProblem& problem, const TwoLayerState& state) {
  require(state.w.cols() == problem.spectrum.size() && state.readout.size() == state.w.rows() &&
              state.spread.rows() == problem.values.size() &&
              state.spread.cols() == state.w.rows() * state.w.rows(),
          "the weights do not match the problem");
}

}  // namespace

TwoLayerState descend(const TwoLayerProblem& problem, TwoLayerState state, double step_size,
                      Index batch_size, Index n_steps, double largest, Control& control) {
  check(problem, state);
  const Index k = state.w.rows(), p = state.w.cols();
  Motion motion(problem, k);
  RowMatrix move(k, p), turn(k, k), turned(k, k);
  Vector push(k);
  const double kept = 1.0 - step_size * problem.weight_decay;
  for (Index step = 0; step < n_steps; ++step) {
    if (step % 64 == 0) control.check();
    motion.take(state.w.data(), state.readout.data(), batch_size > 0 ? &state.spread : nullptr);
    motion.pull(state.w.data(), move.data(), push.data());
    if (batch_size > 0) {
      const RowMatrix& noise = motion.gradient_noise(control);
      const double kick = step_size * step_size / static_cast<double>(batch_size);
      for (Index g = 0; g < problem.values.size(); ++g) {
        const double value = problem.values[g];
        Eigen::Map<RowMatrix> spread(state.spread.row(g).data(), k, k);
        for (Index i = 0; i < k; ++i) {
          for (Index j = 0; j < k; ++j)
            turn(i, j) = step_size * value * motion.along()(i, j) + (i == j ? kept : 0.0);
        }
        for (Index i = 0; i < k; ++i) {
          for (Index j = 0; j < k; ++j) {
            double sum = 0.0;
            for (Index l = 0; l < k; ++l) sum += turn(i, l) * spread(l, j);
            turned(i, j) = sum;
          }
        }
        for (Index i = 0; i < k; ++i) {
          for (Index j = 0; j < k; ++j) {
            double sum = kick * value * problem.counts[g] * noise(i, j);
            for (Index l = 0; l < k; ++l) sum += turned(i, l) * turn(j, l);
            spread(i, j) = sum;
          }
        }
      }
    }
    double top = 0.0;
    for (Index i = 0; i < k * p; ++i) {
      double& w = state.w.data()[i];
      w = kept * w + step_size * move.data()[i];
      top = std::fabs(w) <= top ? top : std::fabs(w);  // NaN gets through
    }
    if (problem.train_readout) {
      for (Index i = 0; i < k; ++i) {
        double& v = state.readout[i];
        v = kept * v + step_size * push[i];
        top = std::fabs(v) <= top ? top : std::fabs(v);
      }
    }
    ++state.step;
    if (!(top <= largest)) return state;
  }
  return state;
}

numerics::Trajectory flow(const TwoLayerProblem& problem, const TwoLayerState& start,
                          const ConstVectorView& times, double largest,
                          const numerics::OdeLimits& limits, Control& control) {
  check(problem, start);
  const Index k = start.w.rows(), p = start.w.cols(), n = k * p + k;
  Motion motion(problem, k);
  Vector start_at(n);
  std::copy_n(start.w.data(), k * p, start_at.data());
  start_at.tail(k) = start.readout;
  const auto velocity = [&](const Vector& y, Vector& dy) {
    motion.take(y.data(), y.data() + k * p, nullptr);
    motion.pull(y.data(), dy.data(), dy.data() + k * p);
    if (!problem.train_readout) dy.tail(k).setZero();
    const Index moving = problem.train_readout ? n : k * p;
    for (Index i = 0; i < moving; ++i) dy[i] -= problem.weight_decay * y[i];
  };
  Matrix hessian(n, n), shifted(n, n);  // minus the derivative of the velocity: symmetric
  Vector moved(n), ahead(n), behind(n);
  numerics::Cholesky chol;
  bool is_factored = false;
  numerics::StiffSystem system;
  system.rhs = [&](const Vector& y, Vector& dy) {
    dy.resize(n);
    velocity(y, dy);
    if (!(y.cwiseAbs().maxCoeff() <= largest))
      dy.setConstant(std::numeric_limits<double>::quiet_NaN());
  };
  system.factor = [&](const Vector& y, double shift, bool is_new) {
    if (is_new) {
      const double size = 1e-5 * std::max(1e-3, y.cwiseAbs().maxCoeff());
      moved = y;
      for (Index i = 0; i < n; ++i) {
        control.check();
        moved[i] = y[i] + size;
        velocity(moved, ahead);
        moved[i] = y[i] - size;
        velocity(moved, behind);
        moved[i] = y[i];
        for (Index j = 0; j < n; ++j) hessian(j, i) = (behind[j] - ahead[j]) / (2.0 * size);
      }
    }
    shifted = hessian;
    for (Index i = 0; i < n; ++i) {
      shifted(i, i) += shift;
      for (Index j = i + 1; j < n; ++j) shifted(j, i) = 0.5 * (hessian(j, i) + hessian(i, j));
    }
    is_factored = chol.compute(shifted);
  };
  system.solve = [&](Vector& b) {
    if (is_factored) {
      chol.solve_in_place(b);
    } else {  // the step is then refused
      b.setConstant(std::numeric_limits<double>::quiet_NaN());
    }
  };
  return numerics::integrate_bdf(system, 0.0, start_at, times, limits, control);
}

}  // namespace retemper::phases

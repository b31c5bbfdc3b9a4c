#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "retemper/diagonal/infer.hpp"
#include "retemper/diagonal/mirror.hpp"
#include "retemper/numerics/linalg.hpp"

namespace retemper::diagonal {

namespace {

constexpr double rounding = std::numeric_limits<double>::epsilon();
constexpr double smallest = std::numeric_limits<double>::min();
constexpr double near_end = 1e-4;    // relative residual at which mirror coordinates move freely
constexpr double enough_kept = 0.9;  // share of the way to the largest force that a step may take
constexpr double longest_move = 2.0;
constexpr Index patience = 60;

class DeepNewton {
 public:
  DeepNewton(const Problem& problem, double depth, const FitOptions& options, Control& control)
      : p_(problem), options_(options), control_(control) {
    const Index n = p_.X.rows(), features = p_.X.cols();
    out_.mirror = p_.centre;
    out_.dual = Vector::Zero(n);
    for (Vector* v : {&out_.coef, &slope_, &stiffness_, &behind_, &reached_, &stiffest_,
                      &start_tanh_, &start_sech_})
      v->resize(features);
    for (Index d = 0; d < features; ++d) {
      const DeepMirror map = DeepMirror::of(p_.scale[d], depth);
      r_ = map.r;
      stiffest_[d] = map.stiffness;
      start_tanh_[d] = std::tanh(r_ * p_.centre[d]);
      start_sech_[d] = 1.0 / std::cosh(r_ * p_.centre[d]);
    }
  }

  /// From a neighbour's coefficients, or from the centre where there are none.
  Fit run(const ConstVectorView& coef_start) {
    evaluate();
    size_of_y_ = std::max(p_.y.stableNorm(), size_);
    if (!(size_of_y_ > 0.0)) return finish(Status::converged);
    if (coef_start.size() > 0) {
      for (Index d = 0; d < coef_start.size(); ++d)
        out_.mirror[d] = deep_prox(map_of(d), coef_start[d], 0.0, 0.0);
      evaluate();
    }
    bool is_joint = coef_start.size() > 0;
    double best = std::numeric_limits<double>::infinity();
    Index n_worse = 0;
    for (;; ++out_.n_iter) {
      control_.check();
      if (size_ <= tolerance() && is_caught_up()) return finish(Status::converged);
      n_worse = size_ < 0.5 * best ? 0 : n_worse + 1;
      best = std::min(best, size_);
      if (!is_joint && (size_ <= near_end * size_of_y_ || n_worse > patience)) {
        is_joint = true;
        n_worse = 0;
      }
      if (n_worse > patience) return finish(Status::stalled);
      if (out_.n_iter >= options_.limits.max_iter) return finish(Status::max_iter);
      if (is_joint) {
        joint_step();
      } else {
        dual_step();
      }
    }
  }

 private:
  double tolerance() const {
    const double lost = p_.X.rowwise().norm().maxCoeff() * out_.coef.stableNorm();
    return std::max(options_.limits.tol * size_of_y_, 8.0 * rounding * lost);
  }

  /// Whether the forces are those of centre + X' dual: each to a share of the largest force there
  /// is, or all so well that the distance costs nothing in penalty.
  bool is_caught_up() const {
    double cost = 0.0, whole = 0.0, most = 0.0;
    for (Index d = 0; d < behind_.size(); ++d) {
      const double weight = slope_[d] / std::max(stiffness_[d], smallest);
      cost += behind_[d] * weight * behind_[d];
      whole += std::abs(reached_[d] * out_.coef[d]);
      most = std::max(most, std::abs(behind_[d]) * r_ / stiffest_[d]);
    }
    return most <= 1e-11 || cost <= 1e-18 * whole;
  }

  DeepMirror map_of(Index d) const { return {p_.scale[d], r_, stiffest_[d]}; }

  void evaluate() {
    reached_.noalias() = p_.X.transpose() * out_.dual;
    const Index features = out_.coef.size();
    const double r = r_;
    const double *c = p_.scale.data(), *stiffest = stiffest_.data(), *u = out_.mirror.data(),
                 *u0 = p_.centre.data(), *start_sech = start_sech_.data(),
                 *reached = reached_.data();
    double *coef = out_.coef.data(), *slope = slope_.data(), *stiffness = stiffness_.data(),
           *behind = behind_.data();
#pragma omp simd
    for (Index d = 0; d < features; ++d) {
      const DeepPoint at = deep_point({c[d], r, stiffest[d]}, u[d]);
      coef[d] = at.coef;
      slope[d] = at.slope;
      stiffness[d] = stiffest[d] * at.sech2;
      // tanh(r u) - tanh(r u0), without a difference of neighbours
      const double moved = sinh_cosh(r * (u[d] - u0[d])).sinh * std::sqrt(at.sech2) * start_sech[d];
      behind[d] = stiffest[d] / r * moved - reached[d];
    }
    residual_ = p_.y - p_.X * out_.coef - p_.mu * out_.dual;
    size_ = residual_.stableNorm();
    if (!std::isfinite(size_))
      throw NumericalError("coefficients overflowed: rescale y or the fine-tuning scales");
  }

  /// `deep_coordinate` from the centre.
  double coordinate(Index d, double force) const {
    const double change = force * r_ / stiffest_[d], sech = start_sech_[d];
    return p_.centre[d] + std::atanh(change / (sech * sech - start_tanh_[d] * change)) / r_;
  }

  /// Sum of coef * move at the dual that is t steps away. To a few digits: it judges a step.
  double slope_along(const Vector& move, double t) const {
    const Index features = move.size();
    const double r = r_, per_log = 0.5 / r_;
    const double *c = p_.scale.data(), *stiffest = stiffest_.data(), *u0 = p_.centre.data(),
                 *start_tanh = start_tanh_.data(), *start_sech = start_sech_.data(),
                 *reached = reached_.data(), *moves = move.data();
    double sum = 0.0;
#pragma omp simd reduction(+ : sum)
    for (Index d = 0; d < features; ++d) {
      const double change = (reached[d] + t * moves[d]) * r / stiffest[d];
      const double tanh = change / (start_sech[d] * start_sech[d] - start_tanh[d] * change);
      const double u = u0[d] + per_log * numerics::vm::log((1.0 + tanh) / (1.0 - tanh));
      sum += deep_point({c[d], r, stiffest[d]}, u).coef * moves[d];
    }
    return sum;
  }

  /// Factors (X W X' + mu) / unit and returns the unit.
  double factor() {
    weight_ = slope_.cwiseQuotient(stiffness_.cwiseMax(smallest));
    const double unit = weight_.maxCoeff();
    if (!std::isnormal(unit))
      throw NumericalError("the curvature of the penalty left the range of numbers: raise scale");
    weighted_gram(p_.X, weight_ / unit, gram_, options_.n_threads, control_);
    gram_.diagonal().array() += p_.mu / unit;
    const double largest = gram_.diagonal().maxCoeff();
    if (!(largest > 0.0)) throw NumericalError("every row of X vanishes on the free features");
    for (double jitter = 1e-14;; jitter *= 100.0) {
      ++out_.n_factor;
      if (chol_.compute(gram_) && chol_.smallest_pivot() > rounding * largest) break;
      if (jitter > 1e-3) throw NumericalError("the weighted Gram matrix could not be factored");
      gram_.diagonal().array() += jitter * largest;
    }
    return unit;
  }

  /// Solves (X W X' + mu) ds = b.
  void solve(Vector b) {
    b /= factor();
    chol_.solve_in_place(b);
    ds_ = std::move(b);
  }

  /// Newton's step on the dual, which is convex: to where most of its slope is lost, and not to
  /// the largest force of any feature.
  void dual_step() {
    solve(residual_);
    const Vector move = p_.X.transpose() * ds_;
    double most = std::numeric_limits<double>::infinity();
    for (Index d = 0; d < move.size(); ++d) {
      const double rate = move[d] * r_ / stiffest_[d];
      if (rate == 0.0) continue;
      const double sign = std::copysign(1.0, rate), u = r_ * out_.mirror[d] * sign;
      const double room = 2.0 / (1.0 + std::exp(2.0 * u));  // 1 - sign tanh(r u)
      most = std::min(most, enough_kept * room / std::abs(rate));
    }
    const double at_zero = -residual_.dot(ds_);
    const auto slope = [&](double t) {
      return p_.mu * ds_.dot(out_.dual + t * ds_) - p_.y.dot(ds_) + slope_along(move, t);
    };
    double t = std::min(1.0, most);
    if (const double at = slope(t); !(at <= 0.5 * std::abs(at_zero))) {
      double low = 0.0, high = t;
      for (int i = 0; i < 60; ++i) {
        t = 0.5 * (low + high);
        const double inside = slope(t);
        if (std::abs(inside) <= 0.5 * std::abs(at_zero)) break;
        (inside < 0.0 ? low : high) = t;
      }
    }
    out_.dual += t * ds_;
    reached_.noalias() = p_.X.transpose() * out_.dual;
    for (Index d = 0; d < move.size(); ++d) {
      const double u = coordinate(d, reached_[d]);
      if (std::isfinite(u)) out_.mirror[d] = u;  // else rounding has met the largest force
    }
    evaluate();
  }

  /// Newton's step on mirror coordinates and dual together.
  void joint_step() {
    const Vector inverse = stiffness_.cwiseMax(smallest).cwiseInverse();
    const Vector away = behind_.cwiseProduct(inverse);
    solve(residual_ + p_.X * slope_.cwiseProduct(away));
    const Vector du = (p_.X.transpose() * ds_).cwiseProduct(inverse) - away;
    const double t = std::min(1.0, longest_move / du.cwiseAbs().maxCoeff());
    out_.dual += t * ds_;
    out_.mirror += t * du;
    evaluate();
  }

  Fit finish(Status status) {
    out_.status = status;
    out_.residual = size_of_y_ > 0.0 ? size_ / size_of_y_ : 0.0;
    double whole = p_.mu * out_.dual.squaredNorm();
    for (Index d = 0; d < out_.coef.size(); ++d)
      whole += reached_[d] * (out_.coef[d] - deep_point(map_of(d), p_.centre[d]).coef);
    out_.duality_gap = whole > 0.0 ? std::abs(out_.dual.dot(residual_)) / whole : 0.0;
    if (options_.leave_one_out) leave_one_out();
    return std::move(out_);
  }

  void leave_one_out() {
    const Index n = p_.X.rows();
    const bool is_lifted = options_.lift.size() > 0;
    const double unit = factor();
    Matrix half = is_lifted ? Matrix(options_.lift) : Matrix::Identity(n, n);
    chol_.halve_in_place(half);
    out_.loo_residual = is_lifted ? Vector(options_.lift.transpose() * out_.dual) : out_.dual;
    out_.loo_residual.array() /= half.colwise().squaredNorm().transpose().array() / unit;
  }

  const Problem& p_;
  const FitOptions& options_;
  Control& control_;
  Fit out_;
  Vector slope_, stiffness_, behind_, reached_, weight_, residual_, ds_;
  double r_ = 0.0;  ///< of every map
  /// Stiffness of every map; tanh(r u) and 1 / cosh(r u) at the centre.
  Vector stiffest_, start_tanh_, start_sech_;
  Matrix gram_;
  numerics::Cholesky chol_;
  double size_ = 0.0, size_of_y_ = 0.0;
};

}  // namespace

Fit deep_fit(const Problem& problem, double depth, ConstVectorView coef_start,
             const FitOptions& options, Control& control) {
  problem.validate();
  require(depth > 2.0, "depth must exceed 2");
  require(coef_start.size() == 0 || coef_start.size() == problem.X.cols(),
          "coef_start must have one entry per column of X");
  require(options.lift.size() == 0 || options.lift.rows() == problem.X.rows(),
          "lift must have one row per row of X");
  return DeepNewton(problem, depth, options, control).run(coef_start);
}

}  // namespace retemper::diagonal

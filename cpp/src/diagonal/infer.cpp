#include "retemper/diagonal/infer.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>
#include <vector>

#include "retemper/core/parallel.hpp"
#include "retemper/diagonal/mirror.hpp"
#include "retemper/numerics/linalg.hpp"

namespace retemper::diagonal {

namespace {

constexpr double eps = std::numeric_limits<double>::epsilon();
constexpr double most_mirror = 705.0;  // |u| kept below this while searching: e^u stays finite

/// sqrt(a^2 + b^2) without overflow, a > 0. The C library's would ask for a recent one.
double hypotenuse(double a, double b) {
  const double large = std::max(a, std::abs(b)), ratio = std::min(a, std::abs(b)) / large;
  return large * std::sqrt(1.0 + ratio * ratio);
}

#ifdef __AVX512F__
constexpr Index kBeside = 4, kPanel = 512;
#else
constexpr Index kBeside = 3, kPanel = 256;  // twelve sums fill sixteen registers
#endif

/// out[kBeside i + k] = dot product of row i of four at `a` with row k of kBeside at `b`, of
/// length w: as many sums as the registers hold beside their factors.
void dots(const double* a, const double* b, Index stride, Index w, double* out) {
  const double *a0 = a, *a1 = a + stride, *a2 = a1 + stride, *a3 = a2 + stride;
  const double *b0 = b, *b1 = b + stride, *b2 = b1 + stride, *b3 = b + (kBeside - 1) * stride;
  double c00 = 0, c01 = 0, c02 = 0, c03 = 0, c10 = 0, c11 = 0, c12 = 0, c13 = 0;
  double c20 = 0, c21 = 0, c22 = 0, c23 = 0, c30 = 0, c31 = 0, c32 = 0, c33 = 0;
#pragma omp simd reduction(+ : c00, c01, c02, c03, c10, c11, c12, c13, c20, c21, c22, c23, c30, \
                               c31, c32, c33)
  for (Index k = 0; k < w; ++k) {
    const double y0 = b0[k], y1 = b1[k], y2 = b2[k];
    const double x0 = a0[k], x1 = a1[k];
    c00 += x0 * y0, c01 += x0 * y1, c02 += x0 * y2;
    c10 += x1 * y0, c11 += x1 * y1, c12 += x1 * y2;
    const double x2 = a2[k], x3 = a3[k];
    c20 += x2 * y0, c21 += x2 * y1, c22 += x2 * y2;
    c30 += x3 * y0, c31 += x3 * y1, c32 += x3 * y2;
    if constexpr (kBeside == 4) {
      const double y3 = b3[k];
      c03 += x0 * y3, c13 += x1 * y3, c23 += x2 * y3, c33 += x3 * y3;
    }
  }
  const double all[4][4] = {
      {c00, c01, c02, c03}, {c10, c11, c12, c13}, {c20, c21, c22, c23}, {c30, c31, c32, c33}};
  for (Index i = 0; i < 4; ++i) std::copy(all[i], all[i] + kBeside, out + kBeside * i);
}

/// sum_d c_d sinh(u_d + t du_d) du_d / 2.
double slope_along(const ConstVectorView& c, const Vector& u, const Vector& du, double t) {
  const Index n = u.size();
  const double *cp = c.data(), *up = u.data(), *dp = du.data();
  double sum = 0.0;
#pragma omp simd reduction(+ : sum)
  for (Index d = 0; d < n; ++d) sum += cp[d] * sinh_cosh(up[d] + t * dp[d]).sinh * dp[d];
  return 0.5 * sum;
}

/// Solves (X diag(weight) X' + mu I) s = b by conjugate gradients, preconditioned by the factor
/// of an earlier weight or, without factors, by the diagonal; factors anew where that is slow.
class DualSystem {
 public:
  DualSystem(const Problem& problem, const FitOptions& options, Control& control)
      : problem_(problem), options_(options), control_(control) {
    const Index n = problem.X.rows();
    patience_ = options.use_factor ? std::min<Index>(30, n / 20) : 20 * n + 100;
  }

  /// `tol`: relative accuracy wanted of a solution without a new factor.
  void solve(const Vector& weight, const Vector& b, double tol, Vector& s) {
    if (!options_.use_factor) {
      diagonal(weight);
      iterate(weight, b, tol, s);
      return;
    }
    if (n_factor > 0 && patience_ > 0 && iterate(weight, b, tol, s)) return;
    factor(weight);
    precondition(b, s);
  }

  void factor(const Vector& weight) {
    unit_ = weight.maxCoeff();
    weighted_gram(problem_.X, weight / unit_, gram_, options_.n_threads, control_);
    gram_.diagonal().array() += problem_.mu / unit_;
    const double largest = gram_.diagonal().maxCoeff();
    if (!(largest > 0.0)) throw NumericalError("every row of X vanishes on the free features");
    ++n_factor;
    // Weights that differ by more than the precision, or dependent rows, make the matrix singular.
    for (double jitter = 1e-14;; jitter *= 100.0) {
      if (chol_.compute(gram_) && chol_.smallest_pivot() > eps * largest) return;
      if (jitter > 1e-3) throw NumericalError("the weighted Gram matrix could not be factored");
      gram_.diagonal().array() += jitter * largest;
    }
  }

  /// Diagonal of lift' inverse lift at the weights of the last factor().
  Vector inverse_diagonal() const {
    const Index n = problem_.X.rows();
    Matrix half = options_.lift.size() > 0 ? Matrix(options_.lift) : Matrix::Identity(n, n);
    chol_.halve_in_place(half);
    return half.colwise().squaredNorm().transpose() / unit_;
  }

  Index n_factor = 0;

 private:
  void diagonal(const Vector& weight) {
    const Index n = problem_.X.rows(), features = problem_.X.cols(), width = panel_width(n);
    diagonal_ = Vector::Constant(n, problem_.mu);
    for (Index j = 0; j < features; j += width) {
      const Index w = std::min(width, features - j);
      diagonal_.noalias() += problem_.X.middleCols(j, w).cwiseAbs2() * weight.segment(j, w);
    }
  }

  void precondition(const Vector& b, Vector& z) const {
    if (options_.use_factor) {
      z = b / unit_;
      chol_.solve_in_place(z);
    } else {
      z = b.array() / diagonal_.array();
    }
  }

  /// out = X (weight . X' p) + mu p in one pass over X.
  void product(const Vector& weight, const Vector& p, Vector& out) {
    const Index n = problem_.X.rows(), features = problem_.X.cols(), width = panel_width(n);
    out = problem_.mu * p;
    Vector t(width);
    for (Index j = 0; j < features; j += width) {
      const Index w = std::min(width, features - j);
      const auto panel = problem_.X.middleCols(j, w);
      t.head(w).noalias() = panel.transpose() * p;
      t.head(w).array() *= weight.segment(j, w).array();
      out.noalias() += panel * t.head(w);
    }
    control_.check();
  }

  /// False if `patience_` products were not enough.
  bool iterate(const Vector& weight, const Vector& b, double tol, Vector& s) {
    const double size = b.lpNorm<Eigen::Infinity>();
    s.setZero(b.size());
    if (size == 0.0) return true;
    Vector r = b / size, z, q(b.size());
    const double start = r.norm(), target = tol * start;
    precondition(r, z);
    Vector p = z;
    double rz = r.dot(z);
    bool is_done = false;
    for (Index i = 0; i < patience_ && !is_done; ++i) {
      product(weight, p, q);
      const double step = rz / p.dot(q);
      if (!std::isfinite(step)) break;
      s += step * p;
      r -= step * q;
      const double left = r.norm();
      is_done = left <= target;
      // a factor too stale shows early: less than a third of the pace that is needed
      if (options_.use_factor && i >= 3 && !is_done &&
          std::log(left / start) >
              std::log(tol) * static_cast<double>(i + 1) / (3.0 * static_cast<double>(patience_)))
        break;
      precondition(r, z);
      const double next = r.dot(z);
      p = z + (next / rz) * p;
      rz = next;
    }
    s *= size;
    return is_done;
  }

  const Problem& problem_;
  const FitOptions& options_;
  Control& control_;
  Matrix gram_;
  Vector diagonal_;
  numerics::Cholesky chol_;
  double unit_ = 1.0;
  Index patience_ = 0;
};

/// The same step for n > D and mu > 0 through the D x D matrix X' X + mu / weight.
class PrimalSystem {
 public:
  PrimalSystem(const Problem& problem, const FitOptions& options, Control& control)
      : problem_(problem) {
    const RowMatrix transposed = problem.X.transpose();
    weighted_gram(transposed, Vector::Ones(problem.X.rows()), gram_, options.n_threads, control);
  }

  /// ds and du = 2 X' ds of the Newton step with residual r.
  void solve(const Vector& weight, const Vector& r, Vector& ds, Vector& du) {
    factor(weight);
    Vector moved = problem_.X.transpose() * r;
    chol_.solve_in_place(moved);
    du = 2.0 * moved.array() / weight.array();
    ds = (r - problem_.X * moved) / problem_.mu;
  }

  /// 1 - leverage of every row at `weight`.
  Vector complement(const Vector& weight) {
    factor(weight);
    Matrix half = problem_.X.transpose();
    chol_.halve_in_place(half);
    return 1.0 - half.colwise().squaredNorm().transpose().array();
  }

  Index n_factor = 0;

 private:
  void factor(const Vector& weight) {
    Matrix full = gram_;
    full.diagonal().array() += problem_.mu / weight.array();
    ++n_factor;
    if (!chol_.compute(full))
      throw NumericalError("the penalised normal equations could not be factored: raise mu");
  }

  const Problem& problem_;
  Matrix gram_;
  numerics::Cholesky chol_;
};

class Newton {
 public:
  Newton(const Problem& problem, const FitOptions& options, Control& control)
      : p_(problem),
        options_(options),
        control_(control),
        is_primal_(problem.X.rows() > problem.X.cols() && problem.mu > 0.0) {
    if (is_primal_) {
      primal_.emplace_back(problem, options, control);
    } else {
      dual_.emplace_back(problem, options, control);
    }
    column_norm_ = Vector::Zero(problem.X.cols());
    for (Index i = 0; i < problem.X.rows(); ++i)  // along the rows, as they lie
      column_norm_ += problem.X.row(i).cwiseAbs2().transpose();
    column_norm_ = column_norm_.cwiseSqrt();
    weight_.resize(problem.X.cols());
    out_.coef.resize(problem.X.cols());
    out_.dual = Vector::Zero(problem.X.rows());
    out_.mirror = problem.centre;
  }

  Fit run(const ConstVectorView& coef_start) {
    if (coef_start.size() > 0) start_at(coef_start);
    evaluate();
    double best = std::numeric_limits<double>::infinity();
    Index n_worse = 0;
    bool is_exact = true;  // mirror equals centre + 2 X' dual, not a sum of steps
    for (;; ++out_.n_iter) {
      control_.check();
      if (size_ <= tolerance()) {
        if (is_exact) break;
        out_.mirror = p_.centre + 2.0 * (p_.X.transpose() * out_.dual);
        is_exact = true;
        evaluate();
        if (size_ <= tolerance()) break;
      }
      n_worse = size_ < 0.5 * best ? 0 : n_worse + 1;
      best = std::min(best, size_);
      if (out_.n_iter >= options_.limits.max_iter || n_worse > 150) {
        out_.status = n_worse > 150 ? Status::stalled : Status::max_iter;
        break;
      }
      step();
      is_exact = false;
    }
    finish();
    return std::move(out_);
  }

 private:
  double scale_of_y() const {
    const double y = p_.y.stableNorm();
    return y > 0.0 ? y : first_size_;
  }

  /// The wanted residual, but never below what rounding of u = u0 + 2 X' s leaves of X beta.
  double tolerance() const {
    const double size = out_.dual.stableNorm();
    const Vector lost = column_norm_.array() *
                        (out_.coef.array().abs() + size * weight_.array() * column_norm_.array());
    return std::max(options_.limits.tol * scale_of_y(), 2.0 * eps * lost.stableNorm());
  }

  void evaluate() {
    mirror_map(p_.scale, out_.mirror, out_.coef, weight_);
    residual_ = p_.y - p_.X * out_.coef - p_.mu * out_.dual;
    size_ = residual_.stableNorm();
    if (first_size_ == 0.0) first_size_ = size_;
    if (!std::isfinite(size_))
      throw NumericalError("coefficients overflowed: rescale y or the fine-tuning scales");
  }

  /// One primal-dual Newton step from a neighbour's coefficients gives the dual to start from.
  void start_at(const ConstVectorView& coef) {
    Vector away(coef.size());
    for (Index d = 0; d < coef.size(); ++d) {
      weight_[d] = 2.0 * hypotenuse(p_.scale[d], coef[d]);
      away[d] = asinh_ratio(coef[d], p_.scale[d]) - p_.centre[d];
    }
    const Vector b = p_.y - p_.X * coef + p_.X * (0.5 * weight_.cwiseProduct(away));
    if (is_primal_) {
      Vector du;
      primal_.front().solve(weight_, b, out_.dual, du);
    } else {
      dual_.front().solve(weight_, b, 1e-3, out_.dual);
    }
    out_.mirror += 2.0 * (p_.X.transpose() * out_.dual);
    const double largest = out_.mirror.cwiseAbs().maxCoeff();
    if (!(largest < most_mirror)) {  // too far: start afresh
      out_.mirror = p_.centre;
      out_.dual.setZero();
    }
  }

  void step() {
    if (is_primal_) {
      primal_.front().solve(weight_, residual_, ds_, du_);
    } else {
      const double forcing = std::clamp(size_ / scale_of_y(), 1e-3, 0.1);
      dual_.front().solve(weight_, residual_, forcing, ds_);
      du_ = 2.0 * (p_.X.transpose() * ds_);
    }
    const double t = line_search();
    out_.dual += t * ds_;
    out_.mirror += t * du_;
    evaluate();
  }

  /// Step at which the dual objective, convex along the line, has lost most of its slope.
  double line_search() {
    const double at_zero = -residual_.dot(ds_);
    const double enough = 0.5 * std::abs(at_zero);
    const bool is_penalised = p_.mu > 0.0;  // else the squares below may overflow
    const double fixed = (is_penalised ? p_.mu * out_.dual.dot(ds_) : 0.0) - p_.y.dot(ds_);
    const double quadratic = is_penalised ? p_.mu * ds_.squaredNorm() : 0.0;
    const auto slope = [&](double t) {
      return slope_along(p_.scale, out_.mirror, du_, t) + fixed + t * quadratic;
    };
    const double most = longest();
    double low = 0.0, high = std::min(1.0, most);
    double at = slope(high);
    while (at < -enough && high < most) {
      low = high;
      high = std::min(2.0 * high, most);
      at = slope(high);
    }
    if (at <= enough) return high;
    for (int i = 0; i < 200; ++i) {
      const double t = 0.5 * (low + high);
      at = slope(t);
      if (std::abs(at) <= enough) return t;
      (at < 0.0 ? low : high) = t;
    }
    return low > 0.0 ? low : high;
  }

  /// Largest step that keeps every |u| representable.
  double longest() const {
    double most = std::numeric_limits<double>::infinity();
    for (Index d = 0; d < du_.size(); ++d) {
      if (du_[d] != 0.0) {
        const double room = most_mirror - std::copysign(1.0, du_[d]) * out_.mirror[d];
        most = std::min(most, std::max(room, 1.0) / std::abs(du_[d]));
      }
    }
    return most;
  }

  void finish() {
    const double scale = scale_of_y();
    out_.residual = scale > 0.0 ? size_ / scale : 0.0;
    double penalty = 0.0;
    for (Index d = 0; d < out_.coef.size(); ++d) {
      // D_q in the dual: (u - u0) beta / 2 - (c / 2) (cosh u - cosh u0)
      const double u = out_.mirror[d], u0 = p_.centre[d];
      penalty += 0.5 * (u - u0) * out_.coef[d] -
                 p_.scale[d] * std::sinh(0.5 * (u + u0)) * std::sinh(0.5 * (u - u0));
    }
    const double whole = penalty + 0.5 * p_.mu * out_.dual.squaredNorm();
    out_.duality_gap = whole > 0.0 ? std::abs(out_.dual.dot(residual_)) / whole : 0.0;
    if (options_.leave_one_out && options_.use_factor) {
      if (is_primal_) {
        out_.loo_residual = p_.mu * out_.dual.array() /
                            (primal_.front().complement(weight_).array() - options_.mean_leverage);
      } else {
        dual_.front().factor(weight_);
        out_.loo_residual =
            options_.lift.size() > 0 ? Vector(options_.lift.transpose() * out_.dual) : out_.dual;
        out_.loo_residual.array() /= dual_.front().inverse_diagonal().array();
      }
    }
    out_.n_factor = is_primal_ ? primal_.front().n_factor : dual_.front().n_factor;
  }

  const Problem& p_;
  const FitOptions& options_;
  Control& control_;
  bool is_primal_;
  std::vector<DualSystem> dual_;  // exactly one of the two
  std::vector<PrimalSystem> primal_;
  Fit out_;
  Vector weight_, residual_, ds_, du_, column_norm_;
  double size_ = 0.0, first_size_ = 0.0;
};

}  // namespace

void Problem::validate() const {
  require(X.rows() > 0 && X.cols() > 0, "X must not be empty");
  require(y.size() == X.rows(), "y must have one entry per row of X");
  require(scale.size() == X.cols() && centre.size() == X.cols(),
          "scale and centre must have one entry per column of X");
  require(scale.minCoeff() > 0.0, "scales must be positive");
  require(mu >= 0.0, "mu must not be negative");
}

Index panel_width(Index n) {
  return std::clamp<Index>((Index{1} << 16) / std::max<Index>(n, 1), 32, 512);
}

void weighted_gram(const ConstRowMatrixView& X, const ConstVectorView& weight, Matrix& out,
                   int n_threads, Control& control) {
  const Index n = X.rows(), features = X.cols();
  constexpr Index group = 12;  // rows that share one load of the others
  const Index n_groups = (n + group - 1) / group, width = std::min(kPanel, features);
  out.setZero(n, n);
  const Vector root = weight.cwiseSqrt();
  RowMatrix panel = RowMatrix::Zero(group * n_groups, width);  // scaled columns, rows filled up
  for (Index j = 0; j < features; j += width) {
    control.check();
    const Index w = std::min(width, features - j);
    for (Index i = 0; i < n; ++i) {
      const double* x = X.data() + i * X.outerStride() + j;
      const double* r = root.data() + j;
      double* p = panel.data() + i * width;
#pragma omp simd
      for (Index k = 0; k < w; ++k) p[k] = x[k] * r[k];
    }
    const Index work = n_groups * n_groups * w;
    parallel_for(n_groups, threads_for(work, 1 << 15, n_threads), [&](Index item) {
      // long and short groups in turn, so that threads get equal shares
      const Index first = group * (item % 2 == 0 ? item / 2 : n_groups - 1 - item / 2);
      for (Index b = 0; b < first + group; b += kBeside) {
        for (Index a = first; a < first + group; a += 4) {
          if (b > a + 3) continue;
          double block[4 * kBeside];
          dots(panel.data() + a * width, panel.data() + b * width, width, w, block);
          for (Index k = 0; k < kBeside && b + k < n; ++k)
            for (Index i = 0; i < 4 && a + i < n; ++i) out(a + i, b + k) += block[kBeside * i + k];
        }
      }
    });
  }
}

Fit fit(const Problem& problem, ConstVectorView coef_start, const FitOptions& options,
        Control& control) {
  problem.validate();
  require(coef_start.size() == 0 || coef_start.size() == problem.X.cols(),
          "coef_start must have one entry per column of X");
  require(options.lift.size() == 0 || options.lift.rows() == problem.X.rows(),
          "lift must have one row per row of X");
  return Newton(problem, options, control).run(coef_start);
}

}  // namespace retemper::diagonal

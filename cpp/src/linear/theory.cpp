#include "retemper/linear/theory.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <sstream>
#include <string>

#include "retemper/core/error.hpp"
#include "retemper/core/parallel.hpp"

namespace retemper::linear {

namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();

/// Eigenvalues visited between stop checks (tens of microseconds), and the number of such items
/// from which a thread is worth opening.
constexpr Index work_per_item = 100'000;
constexpr Index items_per_thread = 16;

/// Runs body(j) for j in [0, n) in blocks whose cost is about work_per_item.
template <class Body>
void over_points(Index n, Index cost, int n_threads, Control& control, Body&& body) {
  const Index block = std::max<Index>(1, work_per_item / std::max<Index>(1, cost));
  const Index n_blocks = (n + block - 1) / block;
  control.set_total(n_blocks);
  parallel_for(n_blocks, threads_for(n_blocks, items_per_thread, n_threads), control, [&](Index b) {
    for (Index j = b * block, end = std::min(n, j + block); j < end; ++j) body(j);
  });
}

std::string text(double x) {
  std::ostringstream out;
  out.precision(10);
  out << x;
  return out.str();
}

double dot(const double* x, const double* y, Index n) {
  double sum = 0.0;
#pragma omp simd reduction(+ : sum)
  for (Index i = 0; i < n; ++i) sum += x[i] * y[i];
  return sum;
}

struct Sums {
  double df1;   // sum t, t = s / (s + kappa)
  double df2;   // sum t^2
  double bend;  // sum t^2 / (s + kappa)
};

/// Positive eigenvalues, descending, as fractions of the largest.
class Spectrum {
 public:
  explicit Spectrum(const ConstVectorView& eigenvalues) {
    double top = 0.0;
    for (double s : eigenvalues) {
      if (!(s >= 0.0)) throw ArgumentError("spectrum must be non-negative, got " + text(s));
      top = std::max(top, s);
    }
    if (top > 0.0 && !(top >= 1e-120 && top <= 1e120))
      throw ArgumentError("spectrum must have its largest entry 0 or in [1e-120, 1e120], got " +
                          text(top));
    scale_ = top > 0.0 ? top : 1.0;
    value_.resize(eigenvalues.size());
    for (double s : eigenvalues)
      if (s > rank_cut * top) value_[rank_++] = s / scale_;
    value_.conservativeResize(rank_);
    std::sort(value_.begin(), value_.end(), [](double a, double b) { return a > b; });
    tail_.setZero(rank_ + 1);
    for (Index i = rank_; i-- > 0;) tail_[i] = tail_[i + 1] + value_[i];
    for (double s : value_) square_ += s * s;
  }

  Index rank() const { return rank_; }
  double scale() const { return scale_; }
  double smallest() const { return value_[rank_ - 1]; }

  /// One pass, one division for two eigenvalues.
  Sums sums(double kappa) const {
    if (kappa > 1e20)  // s + kappa rounds to kappa, and the product below cannot overflow
      return {tail_[0] / kappa, square_ / kappa / kappa, square_ / kappa / kappa / kappa};
    const Index half = rank_ / 2;
    const double* lower = value_.data();
    const double* upper = lower + half;
    double df1 = 0.0;
    double df2 = 0.0;
    double bend = 0.0;
#pragma omp simd reduction(+ : df1, df2, bend)
    for (Index i = 0; i < half; ++i) {
      const double a = lower[i] + kappa;
      const double b = upper[i] + kappa;
      const double r = 1.0 / (a * b);
      const double ra = b * r;
      const double rb = a * r;
      const double ta = lower[i] * ra;
      const double tb = upper[i] * rb;
      df1 += ta + tb;
      df2 += ta * ta + tb * tb;
      bend += ta * ta * ra + tb * tb * rb;
    }
    if (rank_ % 2 != 0) {
      const double r = 1.0 / (smallest() + kappa);
      const double t = smallest() * r;
      df1 += t;
      df2 += t * t;
      bend += t * t * r;
    }
    return {df1, df2, bend};
  }

  /// min over k < n of (n ridge + tail_k) / (n - k), which is at least the root for ridge >= 0.
  /// The next term is smaller exactly while this one is below the next eigenvalue, which can only
  /// change once: found by halving.
  double start(double n, double ridge) const {
    Index low = 0;
    Index high = std::min(rank_, static_cast<Index>(std::ceil(n)) - 1);
    while (low < high) {
      const Index k = low + (high - low) / 2;
      if (n * ridge + tail_[k] >= value_[k] * (n - static_cast<double>(k)))
        high = k;
      else
        low = k + 1;
    }
    return (n * ridge + tail_[low]) / (n - static_cast<double>(low));
  }

  /// Smallest legal ridge at n, where df2 = n; df2 < n must hold at `above`.
  double lowest_ridge(double n, double above) const {
    double low = n < static_cast<double>(rank_) ? 0.0 : -smallest();
    double high = above;
    for (int i = 0; i < 200; ++i) {
      const double middle = 0.5 * (low + high);
      if (middle <= low || middle >= high) break;
      (sums(middle).df2 >= n ? low : high) = middle;
    }
    return high * (1.0 - sums(high).df1 / n);
  }

 private:
  Vector value_;
  Vector tail_;  // (rank + 1,) tail_[k] = sum of value_[k..)
  double square_ = 0.0;
  double scale_ = 1.0;
  Index rank_ = 0;
};

struct FixedPoint {
  double kappa, df1, df2;
  Index n_iter = 0;
  double residual = 0.0;
  Status status = Status::converged;
};

[[noreturn]] void refuse_ridge(const Spectrum& spectrum, double n, double ridge, double start) {
  const double limit = n > 0.0 && spectrum.rank() > 0 && n != static_cast<double>(spectrum.rank())
                           ? spectrum.lowest_ridge(n, start) * spectrum.scale()
                           : 0.0;
  throw ArgumentError("ridge must lie above the point where df2 = n_samples, which is " +
                      text(limit) + " at n_samples = " + text(n) + ", got " + text(ridge));
}

FixedPoint solve_point(const Spectrum& spectrum, double n, double ridge) {
  constexpr Index max_iter = 100;
  // The error after a step is of the order of the step cubed, the degrees of freedom are carried
  // over to first order: nothing visible is left after a relative step of this size.
  constexpr double small_step = 1e-8;
  const auto rank = static_cast<double>(spectrum.rank());
  if (n == 0.0 || spectrum.rank() == 0) {
    if (ridge < 0.0) refuse_ridge(spectrum, n, ridge, 0.0);
    return {n == 0.0 ? infinity : ridge, 0.0, 0.0};
  }
  if (ridge == 0.0 && n >= rank) return {0.0, rank, rank};
  const double lambda = ridge / spectrum.scale();
  if (ridge < 0.0 && n == rank) refuse_ridge(spectrum, n, ridge, 0.0);
  double kappa = ridge < 0.0 && n > rank ? 0.0 : spectrum.start(n, std::max(lambda, 0.0));
  FixedPoint out{kappa, 0.0, 0.0};
  for (out.n_iter = 1; out.n_iter <= max_iter; ++out.n_iter) {
    const Sums sum = spectrum.sums(kappa);
    const double g = std::max(kappa * (1.0 - sum.df1 / n) - lambda, 0.0);
    const double slope = 1.0 - sum.df2 / n;
    const double gap = slope * slope - 4.0 * g * sum.bend / n;
    if (ridge < 0.0 && (slope <= 0.0 || gap < 0.0))
      refuse_ridge(spectrum, n, ridge, n > rank ? 0.0 : spectrum.start(n, 0.0));
    const double divisor = slope + std::sqrt(std::max(gap, 0.0));
    const double step = divisor > 0.0 ? 2.0 * g / divisor : 0.0;
    const double before = kappa;
    kappa -= step;
    out.df1 = sum.df1;
    out.df2 = sum.df2;
    if (step <= small_step * std::abs(kappa)) {
      if (step > 0.0) {
        out.df1 += step * (sum.df1 - sum.df2) / before;
        out.df2 += step * 2.0 * sum.bend;
      }
      break;
    }
  }
  if (out.n_iter > max_iter) {
    out.n_iter = max_iter;
    out.status = Status::max_iter;
  }
  out.kappa = kappa * spectrum.scale();
  out.residual =
      std::abs(kappa * (1.0 - out.df1 / n) - lambda) / (std::abs(kappa) + std::abs(lambda));
  return out;
}

double metric_value(Metric metric, double s, double kappa) {
  switch (metric) {
    case Metric::fitted:
      return s / (s + kappa);
    case Metric::rest:
      return kappa / (s + kappa);
    default: {
      const double u = kappa / (s + kappa);
      return s * u * u;
    }
  }
}

/// The limits kappa = 0 and kappa = infinity.
double metric_limit(Metric metric, double s, bool at_zero) {
  switch (metric) {
    case Metric::fitted:
      return at_zero && s > 0.0 ? 1.0 : 0.0;
    case Metric::rest:
      return at_zero && s > 0.0 ? 0.0 : 1.0;
    default:
      return at_zero ? 0.0 : s;
  }
}

}  // namespace

EffectiveRidge effective_ridge(const ConstVectorView& spectrum, const ConstVectorView& n_samples,
                               const ConstVectorView& ridge, int n_threads, Control& control) {
  const ConstVectorView& n = n_samples;
  require(n.size() == ridge.size(), "n_samples and ridge must have the same length");
  const Spectrum sorted(spectrum);
  const Index k = n.size();
  for (Index j = 0; j < k; ++j) {
    if (!(n[j] >= 0.0 && n[j] <= 1e15))
      throw ArgumentError("n_samples must lie in [0, 1e15], got " + text(n[j]));
    if (!(std::abs(ridge[j]) <= 1e120))
      throw ArgumentError("ridge must be at most 1e120 in size, got " + text(ridge[j]));
  }
  EffectiveRidge out{Vector(k), Vector(k), Vector(k), Vector(k), IndexVector(k), StatusVector(k)};
  over_points(k, sorted.rank() + 64, n_threads, control, [&](Index j) {
    const FixedPoint point = solve_point(sorted, n[j], ridge[j]);
    out.effective_ridge[j] = point.kappa;
    out.df1[j] = point.df1;
    out.df2[j] = point.df2;
    out.residual[j] = point.residual;
    out.n_iter[j] = point.n_iter;
    out.status[j] = static_cast<int>(point.status);
  });
  return out;
}

RowMatrix metric_sums(const ConstVectorView& spectrum, const ConstRowMatrixView& weights,
                      const ConstVectorView& effective_ridge, Metric metric, int n_threads,
                      Control& control) {
  const ConstVectorView& kappa = effective_ridge;
  const Index d = spectrum.size();
  require(weights.cols() == d, "weights must have one column per eigenvalue");
  RowMatrix out(kappa.size(), weights.rows());
  over_points(kappa.size(), d * (weights.rows() + 2), n_threads, control, [&](Index j) {
    Vector value(d);
    const double at = kappa[j];
    if (at == 0.0 || std::isinf(at))
      for (Index i = 0; i < d; ++i) value[i] = metric_limit(metric, spectrum[i], at == 0.0);
    else
      for (Index i = 0; i < d; ++i) value[i] = metric_value(metric, spectrum[i], at);
    for (Index a = 0; a < weights.rows(); ++a)
      out(j, a) = dot(weights.row(a).data(), value.data(), d);
  });
  return out;
}

DescentRisk descent_risk(const ConstVectorView& spectrum, const IndexVector& steps,
                         double step_size, double batch_size, Control& control) {
  const Index d = spectrum.size(), points = steps.size();
  require(batch_size >= 1.0, "batch_size must be at least 1");
  const double heat = step_size * step_size / batch_size;
  const Eigen::ArrayXd s = spectrum.array();
  const Eigen::ArrayXd kept = (1.0 - step_size * s).square() + heat * s.square();
  Eigen::ArrayXd now = s;
  DescentRisk out{RowMatrix(points, d), Vector(points)};
  const Index between = std::max<Index>(1, work_per_item / std::max<Index>(1, d));
  double variance = 0.0;
  Index done = 0;
  for (Index j = 0; j < points; ++j) {
    require(steps[j] >= done, "steps must not be negative and must ascend");
    for (; done < steps[j]; ++done) {
      const double pushed = heat * dot(s.data(), now.data(), d);
      variance += pushed;
      now = kept * now + pushed * s;
      if (done % between == 0) control.check();
    }
    out.weights.row(j) = now.transpose();
    out.variance[j] = variance;
  }
  return out;
}

TopKBound top_k_bound(const ConstVectorView& spectrum, const ConstRowMatrixView& weights,
                      const ConstRowMatrixView& coef, const ConstVectorView& n_samples,
                      const ConstVectorView& ridge, const ConstVectorView& effective_ridge,
                      int n_threads, Control& control) {
  const ConstVectorView &n = n_samples, &kappa = effective_ridge;
  const Index d = spectrum.size();
  const Index m = weights.rows();
  const Index points = n.size();
  require(weights.cols() == d, "weights must have one column per eigenvalue");
  require(coef.rows() == points && coef.cols() == m, "coef must have shape (points, weights)");
  require(ridge.size() == points && kappa.size() == points,
          "n_samples, ridge and effective_ridge differ in length");
  Index rank = 0;
  while (rank < d && spectrum[rank] > 0.0) ++rank;
  // head(a, k) = sum_{i<k} w_i / s_i, rest(a, k) = sum_{i>=k} w_i s_i, tail[k] = sum_{i>=k} s_i
  RowMatrix head = RowMatrix::Zero(m, rank + 1);
  RowMatrix rest = RowMatrix::Zero(m, rank + 1);
  Vector tail = Vector::Zero(rank + 1);
  for (Index i = rank; i-- > 0;) tail[i] = tail[i + 1] + spectrum[i];
  for (Index a = 0; a < m; ++a) {
    for (Index i = 0; i < rank; ++i) head(a, i + 1) = head(a, i) + weights(a, i) / spectrum[i];
    for (Index i = rank; i-- > 0;) rest(a, i) = rest(a, i + 1) + weights(a, i) * spectrum[i];
  }
  TopKBound out{Vector(points), IndexVector(points)};
  over_points(points, (m + 1) * rank, n_threads, control, [&](Index j) {
    out.bound[j] = infinity;
    out.bound_k[j] = -1;
    if (kappa[j] < 0.0) return;
    // without data only k = 0 is left, and head(a, 0) = 0: the bound is the exact sum
    const Index last = std::max<Index>(0, std::min(rank, static_cast<Index>(std::ceil(n[j])) - 1));
    for (Index k = 0; k <= last; ++k) {
      const double at =
          n[j] == 0.0 ? 0.0 : (n[j] * ridge[j] + tail[k]) / (n[j] - static_cast<double>(k));
      double value = 0.0;
      for (Index a = 0; a < m; ++a) value += coef(j, a) * (at * at * head(a, k) + rest(a, k));
      value = std::max(value, 0.0);
      if (value < out.bound[j]) {
        out.bound[j] = value;
        out.bound_k[j] = k;
      }
    }
  });
  return out;
}

DeepScale deep_scale(const ConstVectorView& a2, const ConstVectorView& p2,
                     const ConstVectorView& q2, const ConstVectorView& depth) {
  const Index size = a2.size();
  require(p2.size() == size && q2.size() == size && depth.size() == size,
          "a2, p2, q2 and depth must have the same length");
  DeepScale out{Vector(size), IndexVector::Zero(size)};
  for (Index j = 0; j < size; ++j) {
    const double a = a2[j];
    const double p = p2[j];
    const double q = q2[j];
    const double layers = depth[j];
    if (!(a >= 0.0)) throw ArgumentError("a2 must be non-negative, got " + text(a));
    if (!(p >= 0.0 && std::isfinite(p)))
      throw ArgumentError("p2 must be finite and non-negative, got " + text(p));
    if (!(q >= 0.0 && std::isfinite(q)))
      throw ArgumentError("q2 must be finite and non-negative, got " + text(q));
    if (!(layers >= 1.0)) throw ArgumentError("depth must be at least 1, got " + text(layers));
    double& c = out.scale[j];
    if (layers == 1.0) {
      c = 1.0;
    } else if (p == 0.0 && q == 0.0) {
      c = 0.0;
    } else if (std::isinf(layers)) {
      if (p == 0.0)
        throw ArgumentError("p2 must be positive at infinite depth: the scale has no finite limit");
      c = std::sqrt(a / p);
    } else if (std::isinf(a)) {
      c = infinity;
    } else if (a == 0.0) {
      c = std::pow(q / (p + q), 0.5 * (layers - 1.0));
    } else {
      // f(x) = log(p + q) + 2 L x / (L - 1) - log(a + q e^{2x}) increases and is concave: Newton
      // from the left of the root is monotone.
      const double rate = 2.0 * layers / (layers - 1.0);
      const double offset = std::log(p + q);
      double x = p > 0.0 ? std::min(0.0, 0.5 * (std::log(a) - std::log(p))) : 0.0;
      for (Index step = 1;; ++step) {
        const double grown = q * std::exp(2.0 * x);
        const double f = offset + rate * x - std::log(a + grown);
        const double dx = -f / (rate - 2.0 * grown / (a + grown));
        x += dx;
        out.n_iter[j] = step;
        if (!(dx > 1e-14 * (1.0 + std::abs(x)))) break;
        if (step == 200)
          throw NumericalError("deep_scale: no convergence at a2 = " + text(a) +
                               ", p2 = " + text(p) + ", q2 = " + text(q));
      }
      c = std::exp(x);
    }
  }
  return out;
}

}  // namespace retemper::linear

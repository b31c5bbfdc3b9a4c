#include "retemper/perceptron/averages.hpp"

#include <algorithm>
#include <cmath>
#include <initializer_list>
#include <limits>
#include <utility>
#include <vector>

#include "retemper/core/error.hpp"
#include "retemper/core/parallel.hpp"
#include "retemper/numerics/vector_math.hpp"

namespace retemper::perceptron {

namespace {

namespace num = numerics;
namespace vm = numerics::vm;

constexpr double infinity = std::numeric_limits<double>::infinity();

/// Break points at centre + r scale, kept inside (low, high).
void add_breaks(std::vector<double>& breaks, double centre, double scale, double low, double high) {
  for (const double r : {0.0, 1.0, 3.0, 6.0, 10.0, 20.0, 40.0})
    for (const double x : {centre - r * scale, centre + r * scale})
      if (x > low && x < high) breaks.push_back(x);
}

/// Gaussian panels on (low, high), at most `width` wide, broken where asked.
num::PanelRule rule_with(std::vector<double> breaks, double low, double high, double width) {
  for (double x = low + width; x < high; x += width) breaks.push_back(x);
  const Eigen::Map<const Vector> view(breaks.data(), static_cast<Index>(breaks.size()));
  return {num::panel_edges(low, high, view), num::Measure::gaussian};
}

}  // namespace

WallRule& WallRule::add(const Channel& c, double a, double V) {
  if (!c.has_upper_wall() || !(a > 0.0)) return *this;
  const double s2 = V + c.sigma2();
  const double s = std::sqrt(s2);
  add_breaks(breaks_, c.kappa() / a, s / a, low_, high_);
  if (!c.has_lower_wall()) return *this;
  add_breaks(breaks_, -c.kappa() / a, s / a, low_, high_);
  if (c.kappa() > 0.0) add_breaks(breaks_, 0.0, s2 / (c.kappa() * a), low_, high_);
  return *this;
}

num::PanelRule WallRule::rule(double width) && {
  return rule_with(std::move(breaks_), low_, high_, width);
}

double field_cutoff(const RowLaw& law) {
  if (law.law == Law::cluster) return 13.0 + law.cluster_mean;
  // rows lie beyond the margin; past 38 the normal density is zero in double
  return std::min(13.0 + law.kappa / std::sqrt(1.0 + law.sigma * law.sigma), 38.0);
}

RowAverage::RowAverage(const RowLaw& student, const RowLaw& teacher, RowKind kind)
    : student_(student, kind),
      teacher_(teacher, kind),
      is_even_(kind == RowKind::unlabelled),
      cutoff_(field_cutoff(teacher)) {
  require(student.law == teacher.law, "student and teacher must have the same law of rows");
  require(student.offset == 0.0 && teacher.offset == 0.0, "the theory knows no offset");
}

Moments RowAverage::matched(double q, double V) const {
  return average(q, V, std::sqrt(q), V, true);
}

Moments RowAverage::mismatched(double q, double m) const {
  const double a = q > 0.0 ? m / std::sqrt(q) : 0.0;
  return average(q, 1.0 - q, a, std::max((1.0 - a) * (1.0 + a), 1e-30), false);
}

Moments RowAverage::average(double q, double V, double a, double V0, bool is_matched) const {
  const double root_q = std::sqrt(q);
  const double low = is_even_ ? 0.0 : -cutoff_;
  WallRule walls(low, cutoff_);
  walls.add(student_, root_q, V);
  if (!is_matched) walls.add(teacher_, a, V0);
  const num::PanelRule rule = std::move(walls).rule();
  const Index n = rule.node().size();
  const Index size = padded(n);

  Vector mean = Vector::Zero(size), log_w(size), g(size), dg(size), log_w0, g0, dg0;
  mean.head(n) = root_q * rule.node();
  student_.score(mean.data(), V, size, log_w.data(), g.data(), dg.data());
  if (!is_matched) {
    log_w0.resize(size);
    g0.resize(size);
    dg0.resize(size);
    mean.head(n) = a * rule.node();
    teacher_.score(mean.data(), V0, size, log_w0.data(), g0.data(), dg0.data());
  }
  const double* log_teacher = is_matched ? log_w.data() : log_w0.data();
  const double* teacher_g = is_matched ? g.data() : g0.data();
  const double* weight = rule.weight().data();
  const double *score = g.data(), *slope_of = dg.data(), *log_own = log_w.data();
  Vector mass(n), overlap(n);
  double *w = mass.data(), *square = overlap.data();
#pragma omp simd
  for (Index i = 0; i < n; ++i) w[i] = vm::exp(log_teacher[i]);
  double m_overlap = 0.0, slope = 0.0, entropy = 0.0;
#pragma omp simd reduction(+ : m_overlap, slope)
  for (Index i = 0; i < n; ++i) {
    const double p = weight[i] * w[i];
    square[i] = w[i] * score[i] * score[i];
    m_overlap += p * teacher_g[i] * score[i];
    slope += p * slope_of[i] * slope_of[i];
  }
  if (is_matched) {
    // E W ln W = E (W ln W - W + 1) has no sign changes to cancel; small L by its series
#pragma omp simd reduction(+ : entropy)
    for (Index i = 0; i < n; ++i) {
      const double L = log_own[i];
      const double series = 0.5 * L * L * (1.0 + (2.0 / 3.0) * L), plain = w[i] * L - w[i] + 1.0;
      entropy += weight[i] * (std::fabs(L) < 1e-4 ? series : plain);
    }
  } else {
#pragma omp simd reduction(+ : entropy)
    for (Index i = 0; i < n; ++i) entropy += weight[i] * w[i] * log_own[i];
  }
  const num::Estimate f = rule.integrate(overlap);
  const double both = is_even_ ? 2.0 : 1.0;  // half of an even integrand
  return {both * f.value, both * (is_matched ? f.value : m_overlap), both * slope, both * entropy,
          both * f.error};
}

PriorPoint prior_point(Prior prior, double b) {
  if (prior == Prior::sphere) {
    const double V = 1.0 / (1.0 + b);
    const double q = b * V;
    return {q, V, V * V, 0.5 * (q - std::log1p(b))};
  }
  if (b == 0.0) return {0.0, 1.0, 1.0, 0.0};
  const double root_b = std::sqrt(b);
  std::vector<double> breaks;
  add_breaks(breaks, -root_b, 1.0 / root_b, -13.0, 13.0);
  const num::PanelRule rule = rule_with(std::move(breaks), -13.0, 13.0, 2.0);
  const double* node = rule.node().data();
  const double* weight = rule.weight().data();
  double V = 0.0, dq = 0.0, log_cosh = 0.0;
#pragma omp simd reduction(+ : V, dq, log_cosh)
  for (Index i = 0; i < rule.node().size(); ++i) {
    const double u = b + root_b * node[i];
    const double e = vm::exp(-2.0 * std::fabs(u));
    const double inverse = 1.0 / (1.0 + e);
    const double sech2 = 4.0 * e * inverse * inverse;
    V += weight[i] * sech2;  // E tanh = E tanh^2
    dq += weight[i] * sech2 * sech2;
    log_cosh += weight[i] * (std::fabs(u) + vm::log(0.5 * (1.0 + e)));
  }
  const double q = 1.0 - V;
  return {q, V, dq, log_cosh - 0.5 * b * (1.0 + q)};
}

Curve::Curve(const RowLaw& law, Prior prior)
    : prior_(prior),
      unlabelled_(law, law, RowKind::unlabelled),
      labelled_(law, law, RowKind::positive) {}

Moments Curve::labelled_moments(const PriorPoint& p) const {
  return labelled_.matched(p.q, std::max(p.V, 1e-30));
}

CurvePoint Curve::point(double log_b, bool with_labels) const {
  const double b = std::exp(log_b);
  const PriorPoint p = prior_point(prior_, b);
  return {b, p, unlabelled_.matched(p.q, std::max(p.V, 1e-30)),
          with_labels ? labelled_moments(p) : Moments{}};
}

CurvePoint Curve::start() const {
  return {0.0, prior_point(prior_, 0.0), unlabelled_.matched(0.0, 1.0),
          labelled_.matched(0.0, 1.0)};
}

CurvePoint Curve::end() const {
  require(prior_ == Prior::binary, "the sphere has no end");
  return {infinity,
          {1.0, 0.0, 0.0, -std::log(2.0)},
          unlabelled_.matched(1.0, 1e-30),
          labelled_.matched(1.0, 1e-30)};
}

CurveTable curve_table(const RowLaw& law, Prior prior, const ConstVectorView& log_b, int n_threads,
                       Control& control) {
  const Curve curve(law, prior);
  const Index n = log_b.size();
  const auto moments = [n] { return MomentTable{Vector(n), Vector(n), Vector(n)}; };
  CurveTable out{Vector(n), Vector(n), Vector(n), Vector(n), Vector(n), moments(), moments()};
  const auto put = [](MomentTable& to, Index i, const Moments& m) {
    to.overlap[i] = m.overlap;
    to.slope[i] = m.slope;
    to.entropy[i] = m.entropy;
  };
  parallel_for(n, threads_for(n, 32, n_threads), control, [&](Index i) {
    const CurvePoint p = curve.point(log_b[i]);
    out.b[i] = p.b;
    out.q[i] = p.prior.q;
    out.V[i] = p.prior.V;
    out.dq[i] = p.prior.dq;
    out.prior_entropy[i] = p.prior.entropy;
    put(out.unlabelled, i, p.unlabelled);
    put(out.labelled, i, p.labelled);
  });
  return out;
}

}  // namespace retemper::perceptron

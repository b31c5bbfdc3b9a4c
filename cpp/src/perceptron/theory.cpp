#include "retemper/perceptron/theory.hpp"

#include <algorithm>
#include <cmath>
#include <initializer_list>
#include <limits>
#include <string>
#include <tuple>
#include <utility>

#include "retemper/core/error.hpp"
#include "retemper/core/parallel.hpp"
#include "retemper/numerics/panel_rule.hpp"
#include "retemper/numerics/root.hpp"
#include "retemper/numerics/vector_math.hpp"

namespace retemper::perceptron {

namespace {

namespace num = numerics;
namespace vm = numerics::vm;

constexpr double nan = std::numeric_limits<double>::quiet_NaN();
constexpr double infinity = std::numeric_limits<double>::infinity();
constexpr Index table_size = 240;
constexpr double lowest_log_b = -23.0;
const IterationLimits root_limits{200, 1e-15, 0.0};

/// Break points at centre + r scale, kept inside (low, high).
void add_breaks(std::vector<double>& breaks, double centre, double scale, double low, double high) {
  for (const double r : {0.0, 1.0, 3.0, 6.0, 10.0, 20.0, 40.0})
    for (const double x : {centre - r * scale, centre + r * scale})
      if (x > low && x < high) breaks.push_back(x);
}

/// Walls and the saddle between them, seen by a field omega = a z with posterior variance V.
void add_walls(std::vector<double>& breaks, const Channel& c, double a, double V, double low,
               double high) {
  if (!c.has_upper_wall() || !(a > 0.0)) return;
  const double s2 = V + c.sigma2();
  const double s = std::sqrt(s2);
  add_breaks(breaks, c.kappa() / a, s / a, low, high);
  if (!c.has_lower_wall()) return;
  add_breaks(breaks, -c.kappa() / a, s / a, low, high);
  if (c.kappa() > 0.0) add_breaks(breaks, 0.0, s2 / (c.kappa() * a), low, high);
}

/// Gaussian panels on (low, high), at most `width` wide, broken where asked.
num::PanelRule rule_with(std::vector<double> breaks, double low, double high, double width = 2.0) {
  for (double x = low + width; x < high; x += width) breaks.push_back(x);
  const Eigen::Map<const Vector> view(breaks.data(), static_cast<Index>(breaks.size()));
  return {num::panel_edges(low, high, view), num::Measure::gaussian};
}

/// Smallest value of f on [low, high] by golden section: the place is good to a relative 1e-8.
template <class F>
double golden_minimum(F&& f, double low, double high) {
  constexpr double ratio = 0.61803398874989485;
  double a = high - ratio * (high - low), b = low + ratio * (high - low);
  double fa = f(a), fb = f(b);
  while (high - low > 1e-9 * std::max(1.0, std::abs(low) + std::abs(high))) {
    if (fa < fb) {
      high = b;
      b = a;
      fb = fa;
      a = high - ratio * (high - low);
      fa = f(a);
    } else {
      low = a;
      a = b;
      fa = fb;
      b = low + ratio * (high - low);
      fb = f(b);
    }
  }
  return fa < fb ? a : b;
}

}  // namespace

RowAverage::RowAverage(const RowLaw& student, const RowLaw& teacher, RowKind kind)
    : student_(student, kind),
      teacher_(teacher, kind),
      is_even_(kind == RowKind::unlabelled),
      cutoff_(13.0 + (student.law == Law::cluster ? teacher.mu : 0.0)) {
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
  std::vector<double> breaks;
  add_walls(breaks, student_, root_q, V, low, cutoff_);
  if (!is_matched) add_walls(breaks, teacher_, a, V0, low, cutoff_);
  const num::PanelRule rule = rule_with(std::move(breaks), low, cutoff_);
  const Index n = rule.node().size();
  const Index size = padded(n);

  Vector omega = Vector::Zero(size), log_w(size), g(size), dg(size), log_w0, g0, dg0;
  omega.head(n) = root_q * rule.node();
  student_.score(omega.data(), V, size, log_w.data(), g.data(), dg.data());
  if (!is_matched) {
    log_w0.resize(size);
    g0.resize(size);
    dg0.resize(size);
    omega.head(n) = a * rule.node();
    teacher_.score(omega.data(), V0, size, log_w0.data(), g0.data(), dg0.data());
  }
  const double* log_teacher = is_matched ? log_w.data() : log_w0.data();
  const double* teacher_g = is_matched ? g.data() : g0.data();
  const double* weight = rule.weight().data();
  Vector overlap(n);
  double m_overlap = 0.0, slope = 0.0, entropy = 0.0;
#pragma omp simd reduction(+ : m_overlap, slope, entropy)
  for (Index i = 0; i < n; ++i) {
    const double w = vm::exp(log_teacher[i]);
    const double p = weight[i] * w;
    overlap[i] = w * g[i] * g[i];
    m_overlap += p * teacher_g[i] * g[i];
    slope += p * dg[i] * dg[i];
    const double L = log_w[i];
    // E W ln W = E (W ln W - W + 1) has no sign changes to cancel; small L by its series
    const double matched =
        std::fabs(L) < 1e-4 ? 0.5 * L * L * (1.0 + (2.0 / 3.0) * L) : w * L - w + 1.0;
    entropy += is_matched ? weight[i] * matched : p * L;
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
  const num::PanelRule rule = rule_with(std::move(breaks), -13.0, 13.0);
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

BayesCurve::BayesCurve(const RowLaw& law, Prior prior, bool with_labels, int n_threads,
                       Control& control)
    : curve_(law, prior), with_labels_(with_labels), table_(table_size) {
  const double highest = prior == Prior::sphere ? 30.0 : std::log(120.0);
  parallel_for(table_size, threads_for(table_size, 128, n_threads), control, [&](Index i) {
    const double share = static_cast<double>(i) / static_cast<double>(table_size - 1);
    table_[static_cast<std::size_t>(i)] = point(lowest_log_b + share * (highest - lowest_log_b));
  });
}

BayesRoot BayesCurve::root(const CurvePoint& p, double alpha_u, double alpha_l) const {
  const double f = alpha_u * p.unlabelled.overlap + alpha_l * p.labelled.overlap;
  BayesRoot r{p, p.free_entropy(alpha_u, alpha_l), p.stability(alpha_u, alpha_l),
              p.b > 0.0 ? std::abs(f / p.b - 1.0) * p.prior.V : f};
  if (!with_labels_) r.at.labelled = curve_.labelled_moments(p.prior);
  return r;
}

std::vector<BayesRoot> BayesCurve::fixed_points(double alpha_u, double alpha_l) const {
  struct Gap {
    double value, slope;  // F / b - 1 and its derivative in ln b
  };
  const auto gap = [&](const CurvePoint& p) {
    const double f = alpha_u * p.unlabelled.overlap + alpha_l * p.labelled.overlap;
    return Gap{f / p.b - 1.0, p.stability(alpha_u, alpha_l) - f / p.b};
  };
  require(with_labels_ || alpha_l == 0.0, "this curve was tabulated for alpha_l = 0");
  std::vector<BayesRoot> roots;
  const double c1 = curve_.labelled().first_moment();
  if (alpha_l * c1 * c1 == 0.0) {
    roots.push_back(root(curve_.start(), alpha_u, alpha_l));
  }
  const auto find = [&](double low, double high) {
    const auto f = [&](double x) { return gap(point(x)).value; };
    const num::Root x = num::bracketed_root(f, low, high, root_limits);
    roots.push_back(root(point(x.x), alpha_u, alpha_l));
  };
  if (!roots.empty() && gap(table_.front()).value == 0.0) return roots;  // no information at all
  double low = std::log(table_.front().b);
  Gap at_low = gap(table_.front());
  if (roots.empty() && at_low.value < 0.0) {  // the lowest root has b >= alpha_l c1^2
    const double start = std::log(0.5 * alpha_l * c1 * c1);
    find(start, low);
  }
  for (std::size_t i = 1; i < table_.size(); ++i) {
    const double high = std::log(table_[i].b);
    const Gap at_high = gap(table_[i]);
    if ((at_low.value > 0.0) != (at_high.value > 0.0)) {
      find(low, high);
    } else if (at_low.value * at_low.slope < 0.0 && at_high.value * at_high.slope > 0.0) {
      // it turns back inside: two roots, or a near miss
      const auto slope = [&](double x) { return gap(point(x)).slope; };
      const double turn = num::bracketed_root(slope, low, high, root_limits).x;
      if ((gap(point(turn)).value > 0.0) != (at_low.value > 0.0)) {
        find(low, turn);
        find(turn, high);
      }
    }
    low = high;
    at_low = at_high;
  }
  if (curve_.prior() == Prior::binary) {
    const CurvePoint one = curve_.end();
    roots.push_back({one, one.free_entropy(alpha_u, alpha_l), 0.0, 0.0});
  } else if (at_low.value > 0.0) {
    throw NumericalError("the overlap is closer to one than 1e-13: the loads are too large");
  }
  return roots;
}

double BayesCurve::load_at(const CurvePoint& p, double fixed_load, bool along_labels) const {
  const Moments& moving = along_labels ? p.labelled : p.unlabelled;
  const Moments& fixed = along_labels ? p.unlabelled : p.labelled;
  return (p.b - fixed_load * fixed.overlap) / moving.overlap;
}

std::vector<BayesCurve::Extremum> BayesCurve::extrema(double fixed_load, bool along_labels) const {
  // the sign of d load / d b, over F^2 so that its size means something
  const auto slope = [&](const CurvePoint& p) {
    const Moments& moving = along_labels ? p.labelled : p.unlabelled;
    const Moments& fixed = along_labels ? p.unlabelled : p.labelled;
    return (1.0 - fixed_load * fixed.slope * p.prior.dq) / moving.overlap * p.b -
           load_at(p, fixed_load, along_labels) * p.b * moving.slope * p.prior.dq / moving.overlap;
  };
  const auto at = [&](double x) { return slope(point(x)); };
  std::vector<Extremum> found;
  const auto find = [&](double low, double high, bool is_maximum) {
    const CurvePoint p = point(num::bracketed_root(at, low, high, root_limits).x);
    const double load = load_at(p, fixed_load, along_labels);
    if (load > 0.0) found.push_back({p, load, is_maximum});
  };
  std::vector<double> value(table_.size()), x(table_.size());
  for (std::size_t i = 0; i < table_.size(); ++i) {
    value[i] = slope(table_[i]);
    x[i] = std::log(table_[i].b);
  }
  for (std::size_t i = 1; i < table_.size(); ++i) {
    if (table_[i - 1].prior.q < 1e-6) continue;  // there the slope is rounding
    if ((value[i - 1] > 0.0) != (value[i] > 0.0)) {
      find(x[i - 1], x[i], value[i - 1] > 0.0);
    } else if (i + 1 < table_.size() && value[i] > 0.0 && value[i] < value[i - 1] &&
               value[i] < value[i + 1]) {  // a dip: it may reach below zero between the points
      const double dip = golden_minimum(at, x[i - 1], x[i + 1]);
      if (at(dip) < 0.0) {
        find(x[i - 1], dip, true);
        find(dip, x[i + 1], false);
      }
    }
  }
  return found;
}

CurvePoint BayesCurve::on_branch(double load, double fixed_load, double low, double high) const {
  const auto f = [&](double x) { return load_at(point(x), fixed_load, false) - load; };
  return point(num::bracketed_root(f, low, high, root_limits).x);
}

Transitions BayesCurve::transitions(double alpha_l) const {
  require(with_labels_ || alpha_l == 0.0, "this curve was tabulated for alpha_l = 0");
  Transitions t;
  const double c1 = curve_.labelled().first_moment();
  const double c2 = curve_.unlabelled().second_moment();
  t.critical = alpha_l * c1 * c1 > 0.0 || c2 == 0.0 ? nan : 1.0 / (c2 * c2);
  if (c2 == 0.0) return t;
  const std::vector<Extremum> turns = extrema(alpha_l, false);
  const auto top =
      std::find_if(turns.begin(), turns.end(), [](const Extremum& e) { return e.is_maximum; });
  if (top == turns.end() || top + 1 == turns.end()) return t;
  const Extremum &high = *top, &low = *(top + 1);
  t.first_order = true;
  t.spinodal_high = high.load;
  t.q_spinodal_high = high.at.prior.q;
  t.spinodal_low = low.load;
  t.q_spinodal_low = low.at.prior.q;

  const double floor = std::log(table_.front().b), ceiling = std::log(table_.back().b);
  CurvePoint on_low, on_high;
  const auto advantage = [&](double load) {
    const bool is_zero = !(load > load_at(table_.front(), alpha_l, false));
    on_low = is_zero ? CurvePoint{} : on_branch(load, alpha_l, floor, std::log(high.at.b));
    on_high = on_branch(load, alpha_l, std::log(low.at.b), ceiling);
    return on_high.free_entropy(load, alpha_l) - on_low.free_entropy(load, alpha_l);
  };
  const double margin = 1e-12 * (high.load - low.load);
  const num::Root equal =
      num::bracketed_root(advantage, low.load + margin, high.load - margin, root_limits);
  t.equal = equal.x;
  advantage(equal.x);
  t.q_equal_low = on_low.prior.q;
  t.q_equal_high = on_high.prior.q;
  return t;
}

double BayesCurve::labels_to_leave(double alpha_u) const {
  double most = 0.0;
  for (const Extremum& e : extrema(alpha_u, true))
    if (e.is_maximum) most = std::max(most, e.load);
  return most;
}

CriticalPoint BayesCurve::critical_point() const {
  // d alpha_u / db has the sign of S - alpha_l T; both negative: alpha_l < S / T makes it fall
  const auto turning_load = [](const CurvePoint& p) {
    const double S = p.unlabelled.overlap - p.b * p.unlabelled.slope * p.prior.dq;
    const double T = p.prior.dq * (p.labelled.slope * p.unlabelled.overlap -
                                   p.labelled.overlap * p.unlabelled.slope);
    return S < 0.0 && T < 0.0 ? S / T : 0.0;
  };
  std::size_t best = 0;
  double most = 0.0;
  for (std::size_t i = 1; i + 1 < table_.size(); ++i) {
    const double load = table_[i].prior.q > 1e-6 ? turning_load(table_[i]) : 0.0;
    if (load > most) {
      most = load;
      best = i;
    }
  }
  if (best == 0) return {Status::no_solution, nan, nan, nan};
  const double x = golden_minimum([&](double y) { return -turning_load(point(y)); },
                                  std::log(table_[best - 1].b), std::log(table_[best + 1].b));
  const CurvePoint p = point(x);
  const double alpha_l = turning_load(p);
  return {Status::converged, alpha_l, load_at(p, alpha_l, false), p.prior.q};
}

namespace {

struct MismatchMap {
  RowAverage unlabelled, labelled;
  double alpha_u, alpha_l;

  Moments total(double q, double m) const {
    const Moments u = unlabelled.mismatched(q, m), l = labelled.mismatched(q, m);
    const auto sum = [&](double Moments::* f) { return alpha_u * u.*f + alpha_l * l.*f; };
    return {sum(&Moments::overlap), sum(&Moments::m_overlap), sum(&Moments::slope),
            sum(&Moments::entropy), sum(&Moments::error)};
  }
  /// Eq. 4 on the sphere.
  std::pair<double, double> step(const Moments& t) const {
    const double b = t.overlap + t.m_overlap * t.m_overlap;
    const double u = 0.5 * (1.0 + std::sqrt(1.0 + 4.0 * b));
    return {2.0 * b / (u * (1.0 + std::sqrt(1.0 + 4.0 * b))), t.m_overlap / u};
  }
};

}  // namespace

MismatchSolution solve_mismatched(const RowLaw& student, const RowLaw& teacher, double alpha_u,
                                  double alpha_l, double q, double m, const IterationLimits& limits,
                                  Control& control) {
  require(q > 0.0 && q < 1.0 && m * m <= q, "q must lie in (0, 1), and m^2 must not exceed q");
  const MismatchMap map{{student, teacher, RowKind::unlabelled},
                        {student, teacher, RowKind::positive},
                        alpha_u,
                        alpha_l};
  MismatchSolution s;
  s.status = Status::max_iter;
  while (s.n_iter < limits.max_iter) {
    control.check();
    const auto [new_q, new_m] = map.step(map.total(q, m));
    ++s.n_iter;
    s.residual = std::max(std::abs(new_q - q), std::abs(new_m - m));
    if (s.residual <= limits.tol) {
      s.status = Status::converged;
      break;
    }
    const double d = limits.damping;
    q = std::min((1.0 - d) * new_q + d * q, 1.0 - 1e-13);
    m = (1.0 - d) * new_m + d * m;
  }
  s.q = q;
  s.m = m;
  const Moments t = map.total(s.q, s.m);
  const double V = 1.0 - s.q;
  s.free_entropy = 0.5 * (std::log(V) + (s.q - s.m * s.m) / V) + t.entropy;
  s.replicon = V * V * t.slope;
  s.error = t.error;
  if (!(V > 1e-8) || !(s.replicon < 1.0)) s.status = Status::invalid;
  return s;
}

RowMatrix state_evolution(const RowLaw& student, const RowLaw& teacher, Prior prior, double alpha_u,
                          double alpha_l, double q, double m, Index n_iter, Control& control) {
  require(q >= 0.0 && q < 1.0 && m * m <= q + 1e-15, "q must lie in [0, 1), and m^2 in [0, q]");
  const MismatchMap map{{student, teacher, RowKind::unlabelled},
                        {student, teacher, RowKind::positive},
                        alpha_u,
                        alpha_l};
  RowMatrix path(n_iter + 1, 2);
  path.row(0) << q, m;
  for (Index t = 0; t < n_iter; ++t) {
    control.check();
    if (prior == Prior::sphere) {
      std::tie(q, m) = map.step(map.total(q, m));
    } else {
      const double V = std::max(1.0 - q, 1e-30);
      const double b = alpha_u * map.unlabelled.matched(q, V).overlap +
                       alpha_l * map.labelled.matched(q, V).overlap;
      q = m = b > 120.0 ? 1.0 : prior_point(prior, b).q;
    }
    path.row(t + 1) << q, m;
  }
  return path;
}

double error_margin(double cosine, double sine, double kappa) {
  if (cosine < 0.0) return 1.0 - error_margin(-cosine, sine, kappa);
  if (kappa == 0.0) return std::atan2(sine, cosine) / 3.14159265358979323846;
  if (sine <= 0.0) return 0.0;
  const double c = cosine / sine;
  // ln of the integrand is concave: from kappa on it falls at least as fast as its first slope
  const auto log_value = [&](double t) {
    return -0.5 * t * (t + 2.0 * kappa) + vm::log_ndtr(-c * (kappa + t));
  };
  const double start = vm::log_ndtr(-c * kappa);
  const double rate = kappa + c * vm::hazard(-c * kappa);
  const double reach = std::min(45.0 / rate, 13.0 / std::sqrt(1.0 + c * c) + 13.0 / (1.0 + c));
  Vector edges = Vector::LinSpaced(17, 0.0, reach);
  const num::PanelRule rule(edges, num::Measure::length);
  double sum = 0.0;
  for (Index i = 0; i < rule.node().size(); ++i)
    sum += rule.weight()[i] * std::exp(log_value(rule.node()[i]) - start);
  constexpr double log_sqrt_2pi = 0.91893853320467274178;
  return std::exp(std::log(sum) + start - 0.5 * kappa * kappa - log_sqrt_2pi -
                  vm::log_ndtr(-kappa));
}

Vector odds_transform(const RowLaw& law, double q, double V, double width,
                      const ConstVectorView& t) {
  require(q > 0.0 && q < 1.0, "q must lie in (0, 1)");
  const Channel channel(law, RowKind::positive);
  const double root_q = std::sqrt(q);
  const double cutoff = 13.0 + (law.law == Law::cluster ? law.mu : 0.0);
  std::vector<double> breaks;
  add_walls(breaks, channel, root_q, V, 0.0, cutoff);
  const num::PanelRule rule = rule_with(std::move(breaks), 0.0, cutoff, width);
  const Index n = rule.node().size();
  const Index size = padded(n);
  Vector omega = Vector::Zero(size), log_w(size), back(size), g(size), dg(size);
  omega.head(n) = root_q * rule.node();
  channel.score(omega.data(), V, size, log_w.data(), g.data(), dg.data());
  omega = -omega;
  channel.score(omega.data(), V, size, back.data(), g.data(), dg.data());
  const Vector odds = (log_w - back).head(n);
  const Vector weight =
      2.0 * (rule.weight().array() * (0.5 * (log_w + back)).head(n).array().exp());
  Vector out(t.size());
  for (Index i = 0; i < t.size(); ++i) out[i] = weight.dot((t[i] * odds).array().cos().matrix());
  return out;
}

}  // namespace retemper::perceptron

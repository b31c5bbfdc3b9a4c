#include "retemper/perceptron/theory.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include "retemper/core/error.hpp"
#include "retemper/core/parallel.hpp"
#include "retemper/numerics/root.hpp"

namespace retemper::perceptron {

namespace {

namespace num = numerics;

constexpr double nan = std::numeric_limits<double>::quiet_NaN();
constexpr Index table_size = 240;
constexpr double lowest_log_b = -23.0;
const IterationLimits root_limits{200, 1e-15, 0.0};

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

/// A curve tabulated once; then any load at the cost of a few points.
class BayesCurve {
 public:
  /// Without labels it costs half as much, and serves alpha_l = 0 alone.
  BayesCurve(const RowLaw& law, Prior prior, bool with_labels, int n_threads, Control& control);

  std::vector<FixedPoint> fixed_points(double alpha_u, double alpha_l) const;
  Transitions transitions(double alpha_l) const;
  double labels_to_leave(double alpha_u) const;
  CriticalPoint critical_point() const;

 private:
  struct Extremum {
    CurvePoint at;
    double load = 0.0;
    bool is_maximum = false;
  };
  std::vector<Extremum> extrema(double fixed_load, bool along_labels) const;
  double load_at(const CurvePoint& p, double fixed_load, bool along_labels) const;
  CurvePoint on_branch(double load, double fixed_load, double low, double high) const;
  FixedPoint fixed_point(const CurvePoint& p, double alpha_u, double alpha_l) const;
  CurvePoint point(double log_b) const { return curve_.point(log_b, with_labels_); }

  Curve curve_;
  bool with_labels_;
  std::vector<CurvePoint> table_;
};

BayesCurve::BayesCurve(const RowLaw& law, Prior prior, bool with_labels, int n_threads,
                       Control& control)
    : curve_(law, prior), with_labels_(with_labels), table_(table_size) {
  const double highest = prior == Prior::sphere ? 30.0 : std::log(120.0);
  parallel_for(table_size, threads_for(table_size, 128, n_threads), control, [&](Index i) {
    const double share = static_cast<double>(i) / static_cast<double>(table_size - 1);
    table_[static_cast<std::size_t>(i)] = point(lowest_log_b + share * (highest - lowest_log_b));
  });
}

FixedPoint BayesCurve::fixed_point(const CurvePoint& p, double alpha_u, double alpha_l) const {
  FixedPoint out;
  out.q = p.prior.q;
  out.V = p.prior.V;
  out.free_entropy = p.free_entropy(alpha_u, alpha_l);
  const Moments labelled = with_labels_ ? p.labelled : curve_.labelled_moments(p.prior);
  out.label_equivalent = p.b > 0.0 ? p.b / labelled.overlap : 0.0;
  const double f = alpha_u * p.unlabelled.overlap + alpha_l * p.labelled.overlap;
  if (std::isfinite(p.b)) {  // where q is exactly one, nothing moves
    out.stability = p.stability(alpha_u, alpha_l);
    out.residual = p.b > 0.0 ? std::abs(f / p.b - 1.0) * p.prior.V : f;
  }
  out.error = p.prior.dq * (alpha_u * p.unlabelled.error + alpha_l * labelled.error);
  return out;
}

std::vector<FixedPoint> BayesCurve::fixed_points(double alpha_u, double alpha_l) const {
  struct Gap {
    double value, slope;  // F / b - 1 and its derivative in ln b
  };
  const auto gap = [&](const CurvePoint& p) {
    const double f = alpha_u * p.unlabelled.overlap + alpha_l * p.labelled.overlap;
    return Gap{f / p.b - 1.0, p.stability(alpha_u, alpha_l) - f / p.b};
  };
  require(with_labels_ || alpha_l == 0.0, "this curve was tabulated for alpha_l = 0");
  std::vector<FixedPoint> roots;
  const double c1 = curve_.labelled().moments().first;
  if (alpha_l * c1 * c1 == 0.0) {
    roots.push_back(fixed_point(curve_.start(), alpha_u, alpha_l));
  }
  const auto find = [&](double low, double high) {
    const auto f = [&](double x) { return gap(point(x)).value; };
    const num::Root x = num::bracketed_root(f, low, high, root_limits);
    roots.push_back(fixed_point(point(x.x), alpha_u, alpha_l));
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
    roots.push_back(fixed_point(curve_.end(), alpha_u, alpha_l));
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
  const double c1 = curve_.labelled().moments().first;
  const double c2 = curve_.unlabelled().moments().second;
  t.alpha_c = alpha_l * c1 * c1 > 0.0 || c2 == 0.0 ? nan : 1.0 / (c2 * c2);
  if (c2 == 0.0) return t;
  const std::vector<Extremum> turns = extrema(alpha_l, false);
  const auto top =
      std::find_if(turns.begin(), turns.end(), [](const Extremum& e) { return e.is_maximum; });
  if (top == turns.end() || top + 1 == turns.end()) return t;
  const Extremum &high = *top, &low = *(top + 1);
  t.first_order = true;
  t.alpha_alg = high.load;
  t.q_alg = high.at.prior.q;
  t.alpha_sp_minus = low.load;
  t.q_sp_minus = low.at.prior.q;

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
  t.alpha_it = equal.x;
  advantage(equal.x);
  t.q_it_low = on_low.prior.q;
  t.q_it_high = on_high.prior.q;
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
  Overlaps step(const Moments& t) const {
    const double b = t.overlap + t.m_overlap * t.m_overlap;
    const double u = 0.5 * (1.0 + std::sqrt(1.0 + 4.0 * b));
    return {2.0 * b / (u * (1.0 + std::sqrt(1.0 + 4.0 * b))), t.m_overlap / u};
  }
};

}  // namespace

std::vector<std::vector<FixedPoint>> fixed_points(const RowLaw& law, Prior prior,
                                                  const ConstVectorView& alpha_u,
                                                  const ConstVectorView& alpha_l, int n_threads,
                                                  Control& control) {
  const Index n = alpha_u.size();
  require(alpha_l.size() == n, "alpha_u and alpha_l differ in length");
  const BayesCurve curve(law, prior, (alpha_l.array() > 0.0).any(), n_threads, control);
  std::vector<std::vector<FixedPoint>> out(static_cast<std::size_t>(n));
  control.set_total(n);
  parallel_for(n, threads_for(n, 4, n_threads), control, [&](Index i) {
    out[static_cast<std::size_t>(i)] = curve.fixed_points(alpha_u[i], alpha_l[i]);
  });
  return out;
}

Transitions transitions(const RowLaw& law, double alpha_l, int n_threads, Control& control) {
  return BayesCurve(law, Prior::sphere, alpha_l > 0.0, n_threads, control).transitions(alpha_l);
}

CriticalPoint critical_line(const RowLaw& law, int n_threads, Control& control) {
  return BayesCurve(law, Prior::sphere, true, n_threads, control).critical_point();
}

double labels_to_leave(const RowLaw& law, double alpha_u, int n_threads, Control& control) {
  return BayesCurve(law, Prior::sphere, true, n_threads, control).labels_to_leave(alpha_u);
}

MismatchSolution solve_mismatched(const RowLaw& student, const RowLaw& teacher, double alpha_u,
                                  double alpha_l, const Overlaps& start,
                                  const IterationLimits& limits, Control& control) {
  auto [q, m] = start;
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
  s.at = {q, m};
  const Moments t = map.total(q, m);
  const double V = 1.0 - q;
  s.free_entropy = 0.5 * (std::log(V) + (q - m * m) / V) + t.entropy;
  s.replicon = V * V * t.slope;
  s.error = t.error;
  if (!(V > 1e-8) || !(s.replicon < 1.0)) s.status = Status::invalid;
  return s;
}

OverlapPath state_evolution(const RowLaw& student, const RowLaw& teacher, Prior prior,
                            double alpha_u, double alpha_l, const Overlaps& start, Index n_iter,
                            Control& control) {
  auto [q, m] = start;
  require(q >= 0.0 && q < 1.0 && m * m <= q + 1e-15, "q must lie in [0, 1), and m^2 in [0, q]");
  const MismatchMap map{{student, teacher, RowKind::unlabelled},
                        {student, teacher, RowKind::positive},
                        alpha_u,
                        alpha_l};
  OverlapPath path{Vector(n_iter + 1), Vector(n_iter + 1)};
  path.q[0] = q;
  path.m[0] = m;
  for (Index t = 0; t < n_iter; ++t) {
    control.check();
    if (prior == Prior::sphere) {
      const Overlaps next = map.step(map.total(q, m));
      q = next.q;
      m = next.m;
    } else {
      const double V = std::max(1.0 - q, 1e-30);
      const double b = alpha_u * map.unlabelled.matched(q, V).overlap +
                       alpha_l * map.labelled.matched(q, V).overlap;
      q = m = b > 120.0 ? 1.0 : prior_point(prior, b).q;
    }
    path.q[t + 1] = q;
    path.m[t + 1] = m;
  }
  return path;
}

}  // namespace retemper::perceptron

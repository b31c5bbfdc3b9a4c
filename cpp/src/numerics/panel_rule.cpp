#include "retemper/numerics/panel_rule.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <string>
#include <utility>

#include "retemper/core/error.hpp"
#include "retemper/numerics/gauss_hermite.hpp"
#include "retemper/numerics/vector_math.hpp"

namespace retemper::numerics {

namespace {

constexpr double epsilon = std::numeric_limits<double>::epsilon();
constexpr double one_over_sqrt_2pi = 0.39894228040143267794;

double density(double x) {
  return one_over_sqrt_2pi * vm::exp(-0.5 * x * x);
}

/// Nodes and weights of one panel, written to node[0..order) and weight[0..order).
void fill_panel(const PanelNodes& panel, double low, double high, Measure measure, double* node,
                double* weight) {
  const double half = 0.5 * (high - low);
  const double centre = 0.5 * (low + high);
  const double* unit = panel.node.data();
  const double* unit_weight = panel.weight.data();
  const Index order = panel.node.size();
#pragma omp simd
  for (Index k = 0; k < order; ++k) {
    node[k] = centre + half * unit[k];
    weight[k] = half * unit_weight[k];
  }
  if (measure == Measure::length) return;
#pragma omp simd
  for (Index k = 0; k < order; ++k)
    weight[k] *= one_over_sqrt_2pi * vm::exp(-0.5 * node[k] * node[k]);
}

/// Integral over one panel from the values and the weights at its nodes.
Estimate panel_estimate(const PanelNodes& panel, const double* values, const double* weight) {
  const Index order = panel.node.size();
  const double* null = panel.null.data();
  double value = 0.0, size = 0.0, a = 0.0, b = 0.0, c = 0.0, d = 0.0;
#pragma omp simd reduction(+ : value, size, a, b, c, d)
  for (Index k = 0; k < order; ++k) {
    const double part = weight[k] * values[k];
    value += part;
    size += std::abs(part);
    a += part * null[k];
    b += part * null[order + k];
    c += part * null[2 * order + k];
    d += part * null[3 * order + k];
  }
  return {value, std::sqrt(a * a + b * b + c * c + d * d), size};
}

/// What one panel knows of one function: its integral and its series at both ends.
struct PanelValue {
  Estimate integral;
  double at_low = 0.0, at_high = 0.0;
};

struct Panel {
  double low, high;
  bool is_after_break;            // whether low is a break point
  std::vector<PanelValue> value;  // (n_functions,)
  std::vector<double> error;      // (n_functions,) neighbours taken into account
};

/// Evaluates f once on the nodes of panels[first..) and fills their integrals.
void evaluate(const Integrand& f, Index n_functions, Measure measure, std::vector<Panel>& panels,
              std::size_t first) {
  const PanelNodes& rule = standard_panel();
  const Index order = rule.node.size();
  const Index n = static_cast<Index>(panels.size() - first) * order;
  Vector node(n), weight(n);
  RowMatrix values(n_functions, n);
  for (std::size_t p = first; p < panels.size(); ++p) {
    const Index at = static_cast<Index>(p - first) * order;
    fill_panel(rule, panels[p].low, panels[p].high, measure, node.data() + at, weight.data() + at);
  }
  f(node, values);
  for (Index m = 0; m < n_functions; ++m)
    for (Index k = 0; k < n; ++k)
      if (!std::isfinite(values(m, k)))
        throw NumericalError(std::string("the integrand f is ") +
                             (std::isnan(values(m, k)) ? "nan" : "infinite") + " at " +
                             std::to_string(node[k]) + "; it must be finite between low and high");
  for (std::size_t p = first; p < panels.size(); ++p) {
    const Index at = static_cast<Index>(p - first) * order;
    const double half = 0.5 * (panels[p].high - panels[p].low);
    for (Index m = 0; m < n_functions; ++m) {
      const double* f_at = values.row(m).data() + at;
      PanelValue v{panel_estimate(rule, f_at, weight.data() + at), 0.0, 0.0};
      for (Index k = 0; k < order; ++k) {
        const double part = weight[at + k] * f_at[k] / half;
        v.at_high += part * rule.last[k];
        v.at_low += part * rule.last[order - 1 - k];
      }
      panels[p].value.push_back(v);
    }
  }
}

/// The error of every panel: its own, and that of a jump between its nodes and an edge.
void find_errors(std::vector<Panel>& panels) {
  const double unit_gap = 1.0 + standard_panel().node[0];
  const std::size_t n_functions = panels.front().value.size();
  for (Panel& p : panels) {
    p.error.resize(n_functions);
    for (std::size_t m = 0; m < n_functions; ++m) p.error[m] = p.value[m].integral.error;
  }
  for (std::size_t i = 1; i < panels.size(); ++i) {
    Panel &left = panels[i - 1], &right = panels[i];
    if (right.is_after_break) continue;
    for (std::size_t m = 0; m < n_functions; ++m) {
      const double jump = std::abs(left.value[m].at_high - right.value[m].at_low);
      left.error[m] += 0.5 * jump * unit_gap * (left.high - left.low);
      right.error[m] += 0.5 * jump * unit_gap * (right.high - right.low);
    }
  }
}

double ratio(double error, double size) {
  return error > 0.0 ? error / size : 0.0;
}

double largest_ratio(const std::vector<Estimate>& integral) {
  double worst = 0.0;
  for (const Estimate& e : integral) worst = std::max(worst, ratio(e.error, e.size));
  return worst;
}

bool can_halve(const Panel& p) {
  return p.high - p.low > 64.0 * epsilon * std::max(std::abs(p.low), std::abs(p.high));
}

}  // namespace

PanelNodes::PanelNodes(Index order) {
  require(order >= 5, "a panel needs at least 5 nodes");
  GaussRule rule = gauss_legendre_rule(order);
  node = std::move(rule.node);
  weight = std::move(rule.weight);
  // orthonormal polynomials p_j: the integral of a term c p_j is at most sqrt(2) |c|
  null.resize(order, 4);
  last = Vector::Zero(order);
  for (Index k = 0; k < order; ++k) {
    double p = 1.0, before = 0.0;  // P_j at the node
    for (Index j = 0; j < order; ++j) {
      const auto degree = static_cast<double>(j);
      if (j >= order - 4) null(k, j - (order - 4)) = std::sqrt(2.0 * degree + 1.0) * p;
      last[k] += (degree + 0.5) * p;
      before =
          std::exchange(p, ((2.0 * degree + 1.0) * node[k] * p - degree * before) / (degree + 1.0));
    }
  }
}

const PanelNodes& standard_panel() {
  static const PanelNodes panel(24);
  return panel;
}

Vector panel_edges(double low, double high, const ConstVectorView& breaks) {
  require(std::isfinite(low) && std::isfinite(high) && low < high,
          "the interval must be finite with low < high");
  require(std::isfinite(high - low) && high - low > 1e-290,
          "high - low must be finite and above 1e-290");
  require(breaks.allFinite(), "break points must be finite");
  std::vector<double> inside(breaks.begin(), breaks.end());
  std::sort(inside.begin(), inside.end());
  const double gap = 16.0 * epsilon * std::max(std::abs(low), std::abs(high));
  std::vector<double> edge{low};
  for (double b : inside)
    if (b > edge.back() + gap && b < high - gap) edge.push_back(b);
  edge.push_back(high);
  return Eigen::Map<const Vector>(edge.data(), static_cast<Index>(edge.size()));
}

Vector refine_edges(const Vector& edges, double width) {
  require(width > 0.0, "width must be positive");
  std::vector<double> all;
  for (Index e = 0; e + 1 < edges.size(); ++e) {
    const double length = edges[e + 1] - edges[e];
    const double n = 2.0 * std::ceil(0.5 * length / width);  // even: the middle is an edge
    for (Index k = 0; static_cast<double>(k) < n; ++k)
      all.push_back(edges[e] + length * (static_cast<double>(k) / n));
  }
  all.push_back(edges[edges.size() - 1]);
  return Eigen::Map<const Vector>(all.data(), static_cast<Index>(all.size()));
}

PanelRule::PanelRule(const Vector& edges, Measure measure, const PanelNodes& panel)
    : panel_(panel) {
  const Index order = panel.node.size();
  const Index n_panels = std::max<Index>(0, edges.size() - 1);
  node_.resize(n_panels * order);
  weight_.resize(n_panels * order);
  for (Index p = 0; p < n_panels; ++p)
    fill_panel(panel, edges[p], edges[p + 1], measure, node_.data() + p * order,
               weight_.data() + p * order);
}

Estimate PanelRule::integrate(const ConstVectorView& values) const {
  require(values.size() == node_.size(), "values and nodes differ in length");
  const Index order = panel_.node.size();
  Estimate sum;
  for (Index at = 0; at < node_.size(); at += order) {
    const Estimate e = panel_estimate(panel_, values.data() + at, weight_.data() + at);
    sum.value += e.value;
    sum.error += e.error;
    sum.size += e.size;
  }
  return sum;
}

PanelResult integrate_panels(const Integrand& f, Index n_functions, const Vector& breaks,
                             double width, Measure measure, const PanelLimits& limits) {
  require(breaks.size() >= 2 && n_functions >= 1, "at least one panel and one function needed");
  const auto most = static_cast<std::size_t>(std::max<Index>(limits.max_panels, 1));
  std::vector<Panel> panels;
  const Vector edges = refine_edges(breaks, width);
  for (Index p = 0; p + 1 < edges.size(); ++p)
    panels.push_back({edges[p],
                      edges[p + 1],
                      std::binary_search(breaks.begin(), breaks.end(), edges[p]),
                      {},
                      {}});
  evaluate(f, n_functions, measure, panels, 0);
  PanelResult result;
  for (;;) {
    std::sort(panels.begin(), panels.end(),
              [](const Panel& a, const Panel& b) { return a.low < b.low; });
    find_errors(panels);
    result.integral.assign(static_cast<std::size_t>(n_functions), {});
    for (const Panel& p : panels)
      for (std::size_t m = 0; m < p.value.size(); ++m) {
        result.integral[m].value += p.value[m].integral.value;
        result.integral[m].size += p.value[m].integral.size;
        result.integral[m].error += p.error[m];
      }
    for (const Estimate& e : result.integral)
      if (!std::isfinite(e.size) || !std::isfinite(e.error))
        throw NumericalError("the integral of f overflows: scale f or the interval");
    result.n_panels = static_cast<Index>(panels.size());
    result.residual = largest_ratio(result.integral);
    if (result.residual <= limits.tol) return result;

    // halve the worst, until what is left untouched takes up no more than half the tolerance
    const auto share = [&](const Panel& p) {
      double worst = 0.0;
      for (std::size_t m = 0; m < p.error.size(); ++m)
        worst = std::max(worst, ratio(p.error[m], result.integral[m].size));
      return worst;
    };
    std::vector<double> badness(panels.size());
    std::transform(panels.begin(), panels.end(), badness.begin(), share);
    std::vector<std::size_t> by_badness(panels.size());
    std::iota(by_badness.begin(), by_badness.end(), std::size_t{0});
    std::sort(by_badness.begin(), by_badness.end(), [&](std::size_t p, std::size_t q) {
      return badness[p] > badness[q] || (badness[p] == badness[q] && p < q);
    });
    double left = std::accumulate(badness.begin(), badness.end(), 0.0);
    std::vector<Panel> kept, halves;
    for (std::size_t p : by_badness) {
      const bool has_room = panels.size() + halves.size() / 2 < most;
      if (left > 0.5 * limits.tol && has_room && can_halve(panels[p])) {
        const double middle = 0.5 * (panels[p].low + panels[p].high);
        halves.push_back({panels[p].low, middle, panels[p].is_after_break, {}, {}});
        halves.push_back({middle, panels[p].high, false, {}, {}});
      } else {
        kept.push_back(std::move(panels[p]));
      }
      left -= badness[p];
    }
    const std::size_t first = kept.size();
    result.status = panels.size() >= most ? Status::max_iter : Status::stalled;
    panels = std::move(kept);
    if (halves.empty()) return result;
    result.status = Status::converged;
    panels.insert(panels.end(), halves.begin(), halves.end());
    evaluate(f, n_functions, measure, panels, first);
  }
}

PanelResult gaussian_average(const Integrand& f, Index n_functions, const ConstVectorView& breaks,
                             double cutoff, const PanelLimits& limits) {
  require(cutoff > 0.0 && cutoff <= 38.0, "cutoff must lie in (0, 38]");
  PanelResult result = integrate_panels(f, n_functions, panel_edges(-cutoff, cutoff, breaks), 2.0,
                                        Measure::gaussian, limits);
  Vector ends(2);
  ends << -cutoff, cutoff;
  RowMatrix values(n_functions, 2);
  f(ends, values);
  for (Index m = 0; m < n_functions; ++m) {
    const double beyond = values.row(m).cwiseAbs().sum() * density(cutoff) / cutoff;
    result.integral[static_cast<std::size_t>(m)].error += beyond;
  }
  result.residual = largest_ratio(result.integral);
  if (result.status == Status::converged && !(result.residual <= limits.tol))
    result.status = Status::stalled;
  return result;
}

}  // namespace retemper::numerics

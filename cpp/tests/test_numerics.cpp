// The numerical floor as C++ uses it: several integrands at once, fixed rules, and stops.
#include <Eigen/LU>
#include <cmath>
#include <stdexcept>

#include "check.hpp"
#include "retemper/numerics/fixed_point.hpp"
#include "retemper/numerics/gauss_hermite.hpp"
#include "retemper/numerics/ode.hpp"
#include "retemper/numerics/panel_rule.hpp"
#include "retemper/numerics/root.hpp"

using namespace retemper;
using namespace retemper::numerics;
using tests::throws;

namespace {

bool is_near(double a, double b, double tol) {
  return std::abs(a - b) <= tol;
}

void several_integrands_share_their_panels() {
  Index n_calls = 0;
  const Integrand f = [&](const Vector& x, RowMatrix& out) {
    ++n_calls;
    CHECK(out.rows() == 3 && out.cols() == x.size());
    out.row(0) = x.array().square();
    out.row(1) = (x.array() - 0.3).abs();
    out.row(2) = (x.array() * 5.0).exp();
  };
  const PanelResult r = gaussian_average(f, 3, Vector());
  CHECK(r.status == Status::converged && r.residual <= 1e-12 && n_calls < 30);
  const double kink = 0.3 * std::erf(0.3 / std::sqrt(2.0)) +
                      std::sqrt(2.0 / 3.14159265358979324) * std::exp(-0.045);
  CHECK(is_near(r.integral[0].value, 1.0, 4e-15));
  CHECK(is_near(r.integral[1].value, kink, r.integral[1].error));
  CHECK(is_near(r.integral[2].value / std::exp(12.5), 1.0, 4e-15));
}

void fixed_rule_has_its_error() {
  Vector breaks(2);
  breaks << 0.4, -1.0;
  const Vector edges = refine_edges(panel_edges(-13.0, 13.0, breaks), 1.0);
  for (Index order : {5, 16, 24, 48}) {
    const PanelNodes panel(order);
    const PanelRule rule(edges, Measure::gaussian, panel);
    const Estimate e = rule.integrate((3.0 * rule.node().array()).cos().matrix());
    CHECK(is_near(e.value, std::exp(-4.5), e.error + 1e-16));
    CHECK(order < 24 || e.error < 1e-13);
    CHECK(rule.node().size() == (edges.size() - 1) * order);
  }
  const PanelRule rule(edges, Measure::length);
  CHECK(is_near(rule.weight().sum(), 26.0, 1e-13));
  CHECK(throws<ArgumentError>([&] { rule.integrate(Vector::Zero(3)); }));
  CHECK(throws<ArgumentError>([] { PanelNodes(4); }));
}

void edges_are_sorted_and_distinct() {
  Vector breaks(6);
  breaks << 3.0, -1.0, 0.5, std::nextafter(0.5, 1.0), 2.0, 0.5;
  Vector want(4);
  want << -1.0, 0.5, 2.0, 3.0;
  CHECK(panel_edges(-1.0, 3.0, breaks) == want);
  CHECK(panel_edges(0.0, 1.0, Vector()).size() == 2);
  CHECK(throws<ArgumentError>([] { panel_edges(1.0, 1.0, Vector()); }));
  Vector bad(1);
  bad << std::nan("");
  CHECK(throws<ArgumentError>([&] { panel_edges(0.0, 1.0, bad); }));
}

void rules_refuse_no_order() {
  CHECK(throws<ArgumentError>([] { gauss_hermite_rule(0); }));
  CHECK(throws<ArgumentError>([] { gauss_legendre_rule(-3); }));
  CHECK(gauss_hermite_rule(1).node[0] == 0.0 && gauss_legendre_rule(1).weight[0] == 2.0);
}

void root_is_reused_from_a_bracket() {
  Index n = 0;
  const auto f = [&](double x) { return ++n, std::exp(x) - 3.0; };
  const Bracket b = expand_bracket(f, 10.0, 11.0, -1e9, 1e9);
  CHECK(b.has_root());
  const Root r = bracketed_root(f, b);
  CHECK(r.status == Status::converged && r.n_iter == n);
  CHECK(is_near(r.x, std::log(3.0), 1e-15));
}

template <class Run>
void stops(Run&& run) {
  Control control([](Index, Index) { throw std::out_of_range("stop"); });
  CHECK(throws<std::out_of_range>([&] { run(control); }));
}

void long_iterations_can_be_stopped() {
  stops([](Control& control) {
    fixed_point([](const Vector& x, Vector& out) { out = x.array() + 1.0; }, Vector::Zero(2),
                {Index{1} << 60, 0.0, 0.0}, control);
  });
  const Vector end = Vector::Constant(1, 1e12);
  stops([&](Control& control) {
    integrate_explicit([](double t, const Vector&, Vector& dy) { dy[0] = std::cos(t); }, 0.0,
                       Vector::Zero(1), end, {1e-8, 1e-10, Index{1} << 60}, control);
  });
  stops([&](Control& control) {
    Matrix shifted;
    const StiffSystem turn{[](const Vector& y, Vector& dy) { dy << y[1], -y[0]; },
                           [&](const Vector&, double shift, bool) {
                             shifted.resize(2, 2);
                             shifted << shift, -1.0, 1.0, shift;
                           },
                           [&](Vector& b) {
                             const double d = shifted.determinant();
                             const Vector copy = b;
                             b << (shifted(1, 1) * copy[0] - shifted(0, 1) * copy[1]) / d,
                                 (shifted(0, 0) * copy[1] - shifted(1, 0) * copy[0]) / d;
                           }};
    integrate_stiff(turn, 0.0, Vector::Ones(2), end, {1e-8, 1e-10, Index{1} << 60}, control);
  });
}

void empty_states_are_harmless() {
  Control control;
  const FixedPoint r =
      fixed_point([](const Vector&, Vector&) {}, Vector(), {10, 1e-10, 0.0}, control, 3);
  CHECK(r.status == Status::converged && r.n_iter == 1);
}

}  // namespace

int main() {
  several_integrands_share_their_panels();
  fixed_rule_has_its_error();
  edges_are_sorted_and_distinct();
  rules_refuse_no_order();
  root_is_reused_from_a_bracket();
  long_iterations_can_be_stopped();
  empty_states_are_harmless();
  return tests::n_failed;
}

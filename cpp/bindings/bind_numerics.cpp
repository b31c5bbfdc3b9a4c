#include <Eigen/LU>

#include "arrays.hpp"
#include "modules.hpp"
#include "retemper/core/error.hpp"
#include "retemper/numerics/fixed_point.hpp"
#include "retemper/numerics/gauss_hermite.hpp"
#include "retemper/numerics/normal_stream.hpp"
#include "retemper/numerics/ode.hpp"
#include "retemper/numerics/panel_rule.hpp"
#include "retemper/numerics/root.hpp"
#include "retemper/numerics/vector_kernels.hpp"

namespace retemper::bindings {

namespace {

namespace num = retemper::numerics;

// Quadrature, roots, fixed points and differential equations. Functions of the caller run with the
// GIL held; the systems hand over C++ functions instead.

auto gauss_rule(num::GaussRule (*make)(Index)) {
  return [make](Index order) {
    num::GaussRule rule = [&] {
      py::gil_scoped_release nogil;
      return make(order);
    }();
    return std::make_pair(std::move(rule.node), std::move(rule.weight));
  };
}

/// A vector of the wanted length from a function of the caller.
Vector vector_of(const py::object& value, Index n) {
  Vector v = value.cast<Vector>();
  if (v.size() != n)
    throw ArgumentError("the function must return " + std::to_string(n) + " numbers, got " +
                        std::to_string(v.size()));
  return v;
}

num::Integrand integrand(const py::function& f) {
  return
      [&f](const Vector& x, RowMatrix& out) { out.row(0) = vector_of(f(x), x.size()).transpose(); };
}

py::tuple average_tuple(const num::PanelResult& r) {
  return py::make_tuple(r.integral[0].value, r.integral[0].error, r.residual, r.n_panels,
                        static_cast<int>(r.status));
}

py::tuple root_tuple(const num::Root& r) {
  return py::make_tuple(r.x, r.residual, r.n_iter, static_cast<int>(r.status));
}

auto vector_function(const py::function& f) {
  return [&f](const Vector& x, Vector& out) { out = vector_of(f(x), x.size()); };
}

py::tuple trajectory_tuple(num::Trajectory&& r) {
  return py::make_tuple(std::move(r.y), r.t, r.n_steps, r.n_rejected, static_cast<int>(r.status));
}

py::tuple solve_explicit(const py::function& f, double t0, const Vector& y0,
                         const ConstVectorView& times, double rtol, double atol, Index max_steps) {
  PythonControl control{py::none()};
  const num::OdeRhs rhs = [&f](double t, const Vector& y, Vector& dy) {
    dy = vector_of(f(t, y), y.size());
  };
  return trajectory_tuple(
      num::integrate_explicit(rhs, t0, y0, times, {rtol, atol, max_steps}, control));
}

py::tuple solve_stiff(const py::function& f, const py::function& jacobian, double t0,
                      const Vector& y0, const ConstVectorView& times, double rtol, double atol,
                      Index max_steps) {
  PythonControl control{py::none()};
  Matrix j;
  Eigen::PartialPivLU<Matrix> lu;
  num::StiffSystem system;
  system.rhs = vector_function(f);
  system.factor = [&](const Vector& y, double shift, bool is_new) {
    if (is_new) j = jacobian(y).cast<Matrix>();
    require(j.rows() == y.size() && j.cols() == y.size(), "the Jacobian must be square");
    lu.compute(shift * Matrix::Identity(j.rows(), j.cols()) - j);
  };
  system.solve = [&](Vector& b) { b = lu.solve(b).eval(); };
  return trajectory_tuple(
      num::integrate_stiff(system, t0, y0, times, {rtol, atol, max_steps}, control));
}

void bind_solvers(py::module_& m) {
  m.def("gauss_hermite_rule", gauss_rule(&num::gauss_hermite_rule), "order"_a);
  m.def("gauss_legendre_rule", gauss_rule(&num::gauss_legendre_rule), "order"_a);
  m.def(
      "integrate",
      [](const py::function& f, double low, double high, const ConstVectorView& breaks, double tol,
         Index max_panels) {
        return average_tuple(num::integrate_panels(integrand(f), 1,
                                                   num::panel_edges(low, high, breaks), high - low,
                                                   num::Measure::length, {tol, max_panels}));
      },
      "f"_a, "low"_a, "high"_a, "breaks"_a.noconvert(), "tol"_a, "max_panels"_a);
  m.def(
      "gaussian_average",
      [](const py::function& f, const ConstVectorView& breaks, double cutoff, double tol,
         Index max_panels) {
        return average_tuple(
            num::gaussian_average(integrand(f), 1, breaks, cutoff, {tol, max_panels}));
      },
      "f"_a, "breaks"_a.noconvert(), "cutoff"_a, "tol"_a, "max_panels"_a);
  m.def(
      "panel_rule",
      [](const Vector& edges, bool is_gaussian, Index order, const ConstVectorView& scale) {
        const num::PanelNodes panel(order);
        const num::PanelRule rule(
            edges, is_gaussian ? num::Measure::gaussian : num::Measure::length, panel);
        const num::Estimate e = rule.integrate((rule.node() * scale[0]).array().cos().matrix());
        return py::make_tuple(rule.node(), rule.weight(), e.value, e.error);
      },
      "edges"_a.noconvert(), "is_gaussian"_a, "order"_a, "scale"_a.noconvert());
  m.def(
      "bracketed_root",
      [](const py::function& f, double low, double high, double tol, Index max_iter) {
        const auto value = [&](double x) { return f(x).cast<double>(); };
        return root_tuple(num::bracketed_root(value, low, high, {max_iter, tol}));
      },
      "f"_a, "low"_a, "high"_a, "tol"_a = 0.0, "max_iter"_a = 200);
  m.def(
      "newton_bracketed",
      [](const py::function& f_df, double low, double high, double x0, double tol, Index max_iter) {
        const auto value = [&](double x) { return f_df(x).cast<std::pair<double, double>>(); };
        return root_tuple(num::newton_bracketed(value, low, high, x0, {max_iter, tol}));
      },
      "f_df"_a, "low"_a, "high"_a, "x0"_a, "tol"_a = 0.0, "max_iter"_a = 200);
  m.def(
      "expand_bracket",
      [](const py::function& f, double low, double high, double floor, double ceiling,
         Index max_iter) {
        const auto value = [&](double x) { return f(x).cast<double>(); };
        const num::Bracket b = num::expand_bracket(value, low, high, floor, ceiling, max_iter);
        return py::make_tuple(b.low, b.high, b.n_iter, b.has_root());
      },
      "f"_a, "low"_a, "high"_a, "floor"_a, "ceiling"_a, "max_iter"_a = 100);
  m.def(
      "fixed_point",
      [](const py::function& g, const Vector& x0, double tol, Index max_iter, double damping,
         Index memory) {
        PythonControl control{py::none()};
        num::FixedPoint r =
            num::fixed_point(vector_function(g), x0, {max_iter, tol, damping}, control, memory);
        return py::make_tuple(std::move(r.x), r.residual, r.n_iter, static_cast<int>(r.status));
      },
      "g"_a, "x0"_a.noconvert(), "tol"_a = 1e-10, "max_iter"_a = 1000, "damping"_a = 0.0,
      "memory"_a = 0);
  m.def("solve_explicit", &solve_explicit, "f"_a, "t0"_a, "y0"_a.noconvert(), "times"_a.noconvert(),
        "rtol"_a = 1e-8, "atol"_a = 1e-10, "max_steps"_a = 100000);
  m.def("solve_stiff", &solve_stiff, "f"_a, "jacobian"_a, "t0"_a, "y0"_a.noconvert(),
        "times"_a.noconvert(), "rtol"_a = 1e-8, "atol"_a = 1e-10, "max_steps"_a = 100000);
  m.def(
      "stream_normal",
      [](const PhiloxKey& key, std::uint64_t purpose, std::uint64_t replica, std::uint64_t sweep,
         std::uint64_t first, Index n) {
        py::array_t<double> out(n);
        double* to = out.mutable_data();
        py::gil_scoped_release nogil;
        num::fill_normal(Stream(key, purpose, replica, sweep), first, n, to);
        return out;
      },
      "key"_a, "purpose"_a, "replica"_a, "sweep"_a, "first"_a, "n"_a);
}

}  // namespace

void bind_numerics(py::module_& parent) {
  auto m = parent.def_submodule("numerics");
  bind_solvers(m);

  // vector mathematics
  namespace ew = numerics::elementwise;
  const auto elementwise = [&m](const char* name, Vector (*f)(const ConstVectorView&, int)) {
    m.def(name, f, "x"_a.noconvert(), "n_threads"_a, ReleaseGil());
  };
  elementwise("exp", &ew::exp);
  elementwise("log", &ew::log);
  elementwise("erfc", &ew::erfc);
  elementwise("erfcx", &ew::erfcx);
  elementwise("ndtr", &ew::ndtr);
  elementwise("log_ndtr", &ew::log_ndtr);
  elementwise("hazard", &ew::hazard);
  elementwise("ndtri", &ew::ndtri);
  elementwise("asin", &ew::asin);
  elementwise("acos", &ew::acos);
}

}  // namespace retemper::bindings

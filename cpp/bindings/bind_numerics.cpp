#include "arrays.hpp"
#include "modules.hpp"
#include "retemper/core/error.hpp"
#include "retemper/numerics/gauss_hermite.hpp"
#include "retemper/numerics/normal_stream.hpp"
#include "retemper/numerics/panel_rule.hpp"
#include "retemper/numerics/vector_kernels.hpp"

namespace retemper::bindings {

namespace {

namespace num = retemper::numerics;

// Quadrature of functions of the caller, which run with the GIL held; the systems hand over C++
// functions instead.

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
                        name_of(r.status));
}

void bind_quadrature(py::module_& m) {
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
  bind_quadrature(m);

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

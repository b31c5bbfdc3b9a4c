#include <pybind11/native_enum.h>
#include <pybind11/stl.h>

#include <optional>

#include "arrays.hpp"
#include "modules.hpp"
#include "retemper/widenet/kernels.hpp"
#include "retemper/widenet/simulate.hpp"

namespace retemper::bindings {

namespace {

namespace wn = widenet;

// kernels.hpp
void bind_widenet_kernels(py::module_& m) {
  py::native_enum<wn::Activation>(m, "Activation", "enum.Enum")
      .value("erf", wn::Activation::erf)
      .value("relu", wn::Activation::relu)
      .value("gelu", wn::Activation::gelu)
      .value("linear", wn::Activation::linear)
      .value("table", wn::Activation::table)
      .finalize();
  m.def(
      "kernel",
      [](wn::Activation activation, ConstRowMatrixView X, ConstVectorView var, double cov,
         bool is_centred, int n_threads) {
        PythonControl control{py::none()};
        NumpyMatrix out(X.rows(), X.rows());
        {
          py::gil_scoped_release nogil;
          wn::gaussian_kernel(activation, X, {var, var, cov, is_centred}, out.map, n_threads,
                              control);
        }
        return out.array;
      },
      "activation"_a, "X"_a.noconvert(), "var"_a.noconvert(), "cov"_a, "is_centred"_a,
      "n_threads"_a);
  m.def(
      "cross_kernel",
      [](wn::Activation activation, ConstRowMatrixView X, ConstRowMatrixView Y,
         ConstVectorView row_var, ConstVectorView col_var, double cov, bool is_centred,
         int n_threads) {
        PythonControl control{py::none()};
        NumpyMatrix out(X.rows(), Y.rows());
        {
          py::gil_scoped_release nogil;
          wn::gaussian_kernel(activation, X, Y, {row_var, col_var, cov, is_centred}, out.map,
                              n_threads, control);
        }
        return out.array;
      },
      "activation"_a, "X"_a.noconvert(), "Y"_a.noconvert(), "row_var"_a.noconvert(),
      "col_var"_a.noconvert(), "cov"_a, "is_centred"_a, "n_threads"_a);
  m.def(
      "kernel_of_gram",
      [](wn::Activation activation, ConstRowMatrixView gram, ConstVectorView row_var,
         ConstVectorView col_var, double cov, bool is_centred, int n_threads) {
        PythonControl control{py::none()};
        NumpyMatrix out(gram.rows(), gram.cols());
        {
          py::gil_scoped_release nogil;
          wn::gaussian_kernel_of_gram(activation, gram, {row_var, col_var, cov, is_centred},
                                      out.map, n_threads, control);
        }
        return out.array;
      },
      "activation"_a, "gram"_a.noconvert(), "row_var"_a.noconvert(), "col_var"_a.noconvert(),
      "cov"_a, "is_centred"_a, "n_threads"_a);
  m.def(
      "kernel_of_pairs",
      [](wn::Activation activation, ConstVectorView covs, ConstVectorView row_var,
         ConstVectorView col_var, bool is_centred) {
        return wn::gaussian_kernel_of_pairs(activation, covs, {row_var, col_var, 1.0, is_centred});
      },
      "activation"_a, "covs"_a.noconvert(), "row_var"_a.noconvert(), "col_var"_a.noconvert(),
      "is_centred"_a, ReleaseGil());
  m.def(
      "series_kernel",
      [](ConstRowMatrixView X, ConstVectorView var, double cov, ConstRowMatrixView row_coef,
         ConstRowMatrixView col_coef, int n_threads) {
        PythonControl control{py::none()};
        NumpyMatrix out(X.rows(), X.rows());
        {
          py::gil_scoped_release nogil;
          wn::series_kernel({row_coef, col_coef}, X, {var, var, cov}, out.map, n_threads, control);
        }
        return out.array;
      },
      "X"_a.noconvert(), "var"_a.noconvert(), "cov"_a, "row_coef"_a.noconvert(),
      "col_coef"_a.noconvert(), "n_threads"_a);
  m.def(
      "series_kernel_of_gram",
      [](ConstRowMatrixView gram, ConstVectorView row_var, ConstVectorView col_var, double cov,
         ConstRowMatrixView row_coef, ConstRowMatrixView col_coef, int n_threads) {
        PythonControl control{py::none()};
        NumpyMatrix out(gram.rows(), gram.cols());
        {
          py::gil_scoped_release nogil;
          wn::series_kernel_of_gram({row_coef, col_coef}, gram, {row_var, col_var, cov}, out.map,
                                    n_threads, control);
        }
        return out.array;
      },
      "gram"_a.noconvert(), "row_var"_a.noconvert(), "col_var"_a.noconvert(), "cov"_a,
      "row_coef"_a.noconvert(), "col_coef"_a.noconvert(), "n_threads"_a);
}

// simulate.hpp
void bind_widenet_simulate(py::module_& m) {
  py::native_enum<wn::Method>(m, "Method", "enum.Enum")
      .value("hmc", wn::Method::hmc)
      .value("gibbs", wn::Method::gibbs)
      .value("langevin", wn::Method::langevin)
      .finalize();
  py::class_<wn::ActivationTable>(m, "ActivationTable")
      .def(py::init([](ConstVectorView edge, ConstRowMatrixView coef, ConstRowMatrixView slope) {
             return wn::ActivationTable(edge, coef, slope);
           }),
           py::kw_only(), "edge"_a, "coef"_a, "slope"_a);
  py::class_<wn::NetworkLaw>(m, "NetworkLaw")
      .def(py::init([](wn::Activation activation, const wn::ActivationTable& table, Index width,
                       Index n_hidden_layers, double lam0, double lam1, double lam1_source,
                       double temperature_source, double temperature_target, double gamma,
                       std::vector<double> source_weights, bool is_elastic) {
             return wn::NetworkLaw{{activation, table},
                                   width,
                                   n_hidden_layers,
                                   lam0,
                                   lam1,
                                   lam1_source,
                                   temperature_source,
                                   temperature_target,
                                   gamma,
                                   std::move(source_weights),
                                   is_elastic};
           }),
           py::kw_only(), "activation"_a, "table"_a, "width"_a, "n_hidden_layers"_a, "lam0"_a,
           "lam1"_a, "lam1_source"_a, "temperature_source"_a, "temperature_target"_a, "gamma"_a,
           "source_weights"_a, "is_elastic"_a = false);
  py::class_<wn::Schedule>(m, "Schedule")
      .def(py::init([](wn::Method method, Index n_chains, Index n_draws, Index n_burn_source,
                       Index n_thin_source, Index n_burn_target, Index n_sweeps_target,
                       Index n_steps, double step_size) {
             return wn::Schedule{method,          n_chains,      n_draws,
                                 n_burn_source,   n_thin_source, n_burn_target,
                                 n_sweeps_target, n_steps,       step_size};
           }),
           py::kw_only(), "method"_a, "n_chains"_a, "n_draws"_a, "n_burn_source"_a,
           "n_thin_source"_a, "n_burn_target"_a, "n_sweeps_target"_a, "n_steps"_a, "step_size"_a);
  py::class_<wn::Draws>(m, "Draws")
      .def_readonly("Q_s", &wn::Draws::Q_s)
      .def_readonly("Q_t", &wn::Draws::Q_t)
      .def_readonly("Q_tt", &wn::Draws::Q_tt)
      .def_readonly("Q_st", &wn::Draws::Q_st)
      .def_readonly("mean_a", &wn::Draws::mean_a)
      .def_readonly("mean_b", &wn::Draws::mean_b)
      .def_readonly("mean_square", &wn::Draws::mean_square)
      .def_readonly("positive", &wn::Draws::positive)
      .def_readonly("trace_Q_s", &wn::Draws::trace_Q_s)
      .def_readonly("trace_energy", &wn::Draws::trace_energy)
      .def_readonly("acceptance_source", &wn::Draws::acceptance_source)
      .def_readonly("acceptance_target", &wn::Draws::acceptance_target);
  m.def(
      "simulate",
      [](const wn::NetworkLaw& law, const wn::Schedule& schedule, ConstRowMatrixView source_X,
         ConstRowMatrixView source_y, const std::vector<Index>& source_rows,
         ConstRowMatrixView target_X, ConstRowMatrixView target_y, ConstRowMatrixView test_X,
         const PhiloxKey& key, int n_threads, const py::object& progress) {
        PythonControl control(progress);
        py::gil_scoped_release nogil;
        return wn::simulate(law, schedule, source_X, source_y, source_rows, target_X, target_y,
                            test_X, key, n_threads, control);
      },
      "law"_a, "schedule"_a, "source_X"_a.noconvert(), "source_y"_a.noconvert(), "source_rows"_a,
      "target_X"_a.noconvert(), "target_y"_a.noconvert(), "test_X"_a.noconvert(), "key"_a,
      "n_threads"_a, "progress"_a = py::none());
  py::class_<wn::EnergyGradient>(m, "EnergyGradient")
      .def_readonly("energy", &wn::EnergyGradient::energy)
      .def_readonly("gradient", &wn::EnergyGradient::gradient);
  m.def(
      "collapsed_energy",
      [](wn::Activation activation, double lam1, double temperature, ConstRowMatrixView X,
         ConstVectorView y, ConstRowMatrixView W, const std::optional<wn::ActivationTable>& table,
         Index n_hidden_layers) {
        return wn::collapsed_energy({activation, table.value_or(wn::ActivationTable{})},
                                    n_hidden_layers, lam1, temperature, X, y, W);
      },
      "activation"_a, "lam1"_a, "temperature"_a, "X"_a.noconvert(), "y"_a.noconvert(),
      "W"_a.noconvert(), "table"_a = py::none(), "n_hidden_layers"_a = 1, ReleaseGil());
}

}  // namespace

void bind_widenet(py::module_& m) {
  auto sub = m.def_submodule("widenet", "Bayesian networks of finite width");
  bind_widenet_kernels(sub);
  bind_widenet_simulate(sub);
}

}  // namespace retemper::bindings

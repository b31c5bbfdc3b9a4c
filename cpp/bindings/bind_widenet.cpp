#include "arrays.hpp"
#include "modules.hpp"
#include "retemper/widenet/kernels.hpp"
#include "retemper/widenet/simulate.hpp"

namespace retemper::bindings {

namespace {

// kernels.hpp
void bind_kernels(py::module_& m) {
  using widenet::Activation;
  m.def(
      "kernel",
      [](int activation, ConstRowMatrixView X, ConstVectorView var, double cov, bool is_centred,
         int n_threads) {
        PythonControl control{py::none()};
        NumpyMatrix out(X.rows(), X.rows());
        {
          py::gil_scoped_release nogil;
          widenet::gaussian_kernel(static_cast<Activation>(activation), X,
                                   {var, var, cov, is_centred}, out.map, n_threads, control);
        }
        return out.array;
      },
      "activation"_a, "X"_a.noconvert(), "var"_a.noconvert(), "cov"_a, "is_centred"_a,
      "n_threads"_a);
  m.def(
      "cross_kernel",
      [](int activation, ConstRowMatrixView X, ConstRowMatrixView Y, ConstVectorView row_var,
         ConstVectorView col_var, double cov, bool is_centred, int n_threads) {
        PythonControl control{py::none()};
        NumpyMatrix out(X.rows(), Y.rows());
        {
          py::gil_scoped_release nogil;
          widenet::gaussian_kernel(static_cast<Activation>(activation), X, Y,
                                   {row_var, col_var, cov, is_centred}, out.map, n_threads,
                                   control);
        }
        return out.array;
      },
      "activation"_a, "X"_a.noconvert(), "Y"_a.noconvert(), "row_var"_a.noconvert(),
      "col_var"_a.noconvert(), "cov"_a, "is_centred"_a, "n_threads"_a);
  m.def(
      "kernel_of_gram",
      [](int activation, ConstRowMatrixView gram, ConstVectorView row_var, ConstVectorView col_var,
         double cov, bool is_centred, int n_threads) {
        PythonControl control{py::none()};
        NumpyMatrix out(gram.rows(), gram.cols());
        {
          py::gil_scoped_release nogil;
          widenet::gaussian_kernel_of_gram(static_cast<Activation>(activation), gram,
                                           {row_var, col_var, cov, is_centred}, out.map, n_threads,
                                           control);
        }
        return out.array;
      },
      "activation"_a, "gram"_a.noconvert(), "row_var"_a.noconvert(), "col_var"_a.noconvert(),
      "cov"_a, "is_centred"_a, "n_threads"_a);
  m.def(
      "kernel_of_pairs",
      [](int activation, ConstVectorView gram, ConstVectorView row_var, ConstVectorView col_var,
         bool is_centred) {
        return widenet::gaussian_kernel_of_pairs(static_cast<Activation>(activation), gram,
                                                 {row_var, col_var, 1.0, is_centred});
      },
      "activation"_a, "gram"_a.noconvert(), "row_var"_a.noconvert(), "col_var"_a.noconvert(),
      "is_centred"_a, ReleaseGil());
}

// simulate.hpp
void bind_simulate(py::module_& m) {
  using widenet::Activation;
  m.def(
      "simulate",
      [](int activation, Index width, const std::array<double, 6>& law,
         const std::array<Index, 7>& counts, int method, double step, ConstRowMatrixView source_X,
         ConstVectorView source_y, ConstRowMatrixView target_X, ConstVectorView target_y,
         ConstRowMatrixView test_X, const PhiloxKey& key, int n_threads,
         const py::object& progress) {
        PythonControl control(progress);
        const auto [lam0, lam1_source, lam1_target, T_source, T_target, gamma] = law;
        const auto [n_chains, n_draws, source_burn, source_thin, target_burn, target_sweeps,
                    n_steps] = counts;
        const widenet::NetworkLaw network{static_cast<Activation>(activation),
                                          width,
                                          lam0,
                                          lam1_source,
                                          lam1_target,
                                          T_source,
                                          T_target,
                                          gamma};
        const widenet::Schedule schedule{static_cast<widenet::Method>(method),
                                         n_chains,
                                         n_draws,
                                         source_burn,
                                         source_thin,
                                         target_burn,
                                         target_sweeps,
                                         n_steps,
                                         step};
        widenet::Draws out;
        {
          py::gil_scoped_release nogil;
          out = widenet::simulate(network, schedule, source_X, source_y, target_X, target_y, test_X,
                                  key, n_threads, control);
        }
        py::dict named;
        named["Q_s"] = std::move(out.Q_s);
        named["Q_t"] = std::move(out.Q_t);
        named["Q_tt"] = std::move(out.Q_tt);
        named["Q_st"] = std::move(out.Q_st);
        named["mean_a"] = std::move(out.mean_a);
        named["mean_b"] = std::move(out.mean_b);
        named["second"] = std::move(out.second);
        named["trace_Q"] = std::move(out.trace_Q);
        named["trace_energy"] = std::move(out.trace_energy);
        named["source_accept"] = std::move(out.source_accept);
        named["target_accept"] = std::move(out.target_accept);
        named["source_step"] = std::move(out.source_step);
        return named;
      },
      "activation"_a, "width"_a, "law"_a, "counts"_a, "method"_a, "step"_a,
      "source_X"_a.noconvert(), "source_y"_a.noconvert(), "target_X"_a.noconvert(),
      "target_y"_a.noconvert(), "test_X"_a.noconvert(), "key"_a, "n_threads"_a,
      "progress"_a = py::none());
  m.def(
      "collapsed_energy",
      [](int activation, double lam1, double T, ConstRowMatrixView X, ConstVectorView y,
         ConstRowMatrixView W) {
        auto out = [&] {
          py::gil_scoped_release nogil;
          return widenet::collapsed_energy(static_cast<Activation>(activation), lam1, T, X, y, W);
        }();
        return std::make_pair(out.energy, std::move(out.gradient));
      },
      "activation"_a, "lam1"_a, "T"_a, "X"_a.noconvert(), "y"_a.noconvert(), "W"_a.noconvert());
}

}  // namespace

void bind_widenet(py::module_& m) {
  auto sub = m.def_submodule("widenet", "Bayesian networks of finite width");
  bind_kernels(sub);
  bind_simulate(sub);
}

}  // namespace retemper::bindings

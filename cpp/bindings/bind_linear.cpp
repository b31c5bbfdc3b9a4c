#include "arrays.hpp"
#include "modules.hpp"
#include "retemper/linear/deep.hpp"
#include "retemper/linear/relu.hpp"
#include "retemper/linear/simulate.hpp"
#include "retemper/linear/theory.hpp"

namespace retemper::bindings {

namespace {

// relu.hpp
void bind_relu(py::module_& m) {
  using namespace linear;
  using Rows = const Eigen::Ref<const RowMatrix>&;
  using Entries = const Eigen::Ref<const Vector>&;
  // numpy allocates the kernel: it asks for huge pages, which halves the time of a small one
  m.def(
      "relu_ntk",
      [](Rows X, int n_threads, const py::object& progress) {
        py::array_t<double> out({X.rows(), X.rows()});
        Eigen::Map<RowMatrix> kernel(out.mutable_data(), X.rows(), X.rows());
        PythonControl control(progress);
        py::gil_scoped_release nogil;
        relu_ntk(X, kernel, n_threads, control);
        return out;
      },
      "X"_a.noconvert(), "n_threads"_a, "progress"_a = py::none());
  m.def(
      "relu_ntk_cross",
      [](Rows X, Rows Y, int n_threads, const py::object& progress) {
        py::array_t<double> out({X.rows(), Y.rows()});
        Eigen::Map<RowMatrix> kernel(out.mutable_data(), X.rows(), Y.rows());
        PythonControl control(progress);
        py::gil_scoped_release nogil;
        relu_ntk(X, Y, kernel, n_threads, control);
        return out;
      },
      "X"_a.noconvert(), "Y"_a.noconvert(), "n_threads"_a, "progress"_a = py::none());
  m.def(
      "relu_network_predict",
      [](Rows W, Entries a, Rows X, int n_threads, const py::object& progress) {
        PythonControl control(progress);
        py::gil_scoped_release nogil;
        return relu_network_predict(W, a, X, n_threads, control);
      },
      "W"_a.noconvert(), "a"_a.noconvert(), "X"_a.noconvert(), "n_threads"_a,
      "progress"_a = py::none());
  m.def(
      "relu_network_fit",
      [](Rows W, Entries a, Rows X, Entries y, double step_size, double ridge, bool fit_intercept,
         Index max_iter, double tol, int n_threads, const py::object& progress) {
        PythonControl control(progress);
        const ReluTraining training{step_size, ridge, fit_intercept, {max_iter, tol, 0.0}};
        ReluFit fit = [&] {
          py::gil_scoped_release nogil;
          return relu_network_fit(W, a, X, y, training, n_threads, control);
        }();
        return py::make_tuple(std::move(fit.W), fit.intercept, std::move(fit.loss), fit.residual,
                              fit.n_iter, static_cast<int>(fit.status));
      },
      "W"_a.noconvert(), "a"_a.noconvert(), "X"_a.noconvert(), "y"_a.noconvert(), "step_size"_a,
      "ridge"_a, "fit_intercept"_a, "max_iter"_a, "tol"_a, "n_threads"_a,
      "progress"_a = py::none());
}

// theory.hpp
void bind_theory(py::module_& m) {
  m.def(
      "effective_ridge",
      [](ConstVectorView spectrum, ConstVectorView n, ConstVectorView ridge, int n_threads,
         const py::object& progress) {
        PythonControl control(progress);
        linear::EffectiveRidge out;
        {
          py::gil_scoped_release nogil;
          out = linear::effective_ridge(spectrum, n, ridge, n_threads, control);
        }
        return std::make_tuple(std::move(out.kappa), std::move(out.df1), std::move(out.df2),
                               std::move(out.residual), std::move(out.n_iter),
                               std::move(out.status));
      },
      "spectrum"_a.noconvert(), "n"_a.noconvert(), "ridge"_a.noconvert(), "n_threads"_a,
      "progress"_a = py::none());
  m.def(
      "metric_sums",
      [](ConstVectorView spectrum, ConstRowMatrixView weights, ConstVectorView kappa, int metric,
         int n_threads) {
        PythonControl control{py::none()};
        py::gil_scoped_release nogil;
        return linear::metric_sums(spectrum, weights, kappa, static_cast<linear::Metric>(metric),
                                   n_threads, control);
      },
      "spectrum"_a.noconvert(), "weights"_a.noconvert(), "kappa"_a.noconvert(), "metric"_a,
      "n_threads"_a);
  m.def(
      "top_k_bound",
      [](ConstVectorView spectrum, ConstRowMatrixView weights, ConstRowMatrixView coef,
         ConstVectorView n, ConstVectorView ridge, ConstVectorView kappa, int n_threads) {
        PythonControl control{py::none()};
        linear::TopKBound out;
        {
          py::gil_scoped_release nogil;
          out = linear::top_k_bound(spectrum, weights, coef, n, ridge, kappa, n_threads, control);
        }
        return std::make_pair(std::move(out.bound), std::move(out.k));
      },
      "spectrum"_a.noconvert(), "weights"_a.noconvert(), "coef"_a.noconvert(), "n"_a.noconvert(),
      "ridge"_a.noconvert(), "kappa"_a.noconvert(), "n_threads"_a);
  m.def(
      "deep_scale",
      [](ConstVectorView a2, ConstVectorView p2, ConstVectorView q2, ConstVectorView depth) {
        linear::DeepScale out;
        {
          py::gil_scoped_release nogil;
          out = linear::deep_scale(a2, p2, q2, depth);
        }
        return std::make_pair(std::move(out.scale), std::move(out.n_iter));
      },
      "a2"_a.noconvert(), "p2"_a.noconvert(), "q2"_a.noconvert(), "depth"_a.noconvert());
}

// deep.hpp, simulate.hpp
auto parts(numerics::ThinSvd space) {
  return std::make_tuple(std::move(space.u), std::move(space.s), std::move(space.v));
}

auto parts(linear::Descent run) {
  return std::make_tuple(std::move(run.factors), run.residual, run.n_iter,
                         static_cast<int>(run.status));
}

void bind_deep(py::module_& m) {
  m.attr("largest_gram_condition") = numerics::largest_gram_condition;
  m.def(
      "row_space", [](ConstRowMatrixView x) { return parts(numerics::thin_svd(x)); },
      "x"_a.noconvert(), ReleaseGil());
  m.def(
      "row_space_of_gram",
      [](ConstRowMatrixView x, ConstVectorView eigenvalues, ConstMatrixView eigenvectors) {
        return parts(numerics::thin_svd(x, eigenvalues, eigenvectors));
      },
      "x"_a.noconvert(), "eigenvalues"_a.noconvert(), "eigenvectors"_a.noconvert(), ReleaseGil());
  m.def(
      "deep_fit",
      [](ConstMatrixView u, ConstVectorView s, ConstRowMatrixView v, ConstRowMatrixView y,
         ConstRowMatrixView source, double depth, double ridge) {
        linear::DeepFit fit = linear::deep_fit({u, s, v}, y, source, depth, ridge);
        std::vector<int> status;
        for (Status one : fit.status) status.push_back(static_cast<int>(one));
        return std::make_tuple(std::move(fit.coef), std::move(fit.source_scale),
                               std::move(fit.fit_norm), std::move(fit.row_norm),
                               std::move(fit.null_norm), std::move(fit.residual),
                               std::move(fit.n_iter), std::move(status));
      },
      "u"_a.noconvert(), "s"_a.noconvert(), "v"_a.noconvert(), "y"_a.noconvert(),
      "source"_a.noconvert(), "depth"_a, "ridge"_a, ReleaseGil());
  m.def(
      "factor_descent",
      [](ConstVectorView s, ConstRowMatrixView y, Index n_samples, std::vector<RowMatrix> factors,
         double step_size, Index max_iter, double tol, const py::object& progress) {
        PythonControl control(progress);
        py::gil_scoped_release nogil;
        return parts(linear::factor_descent(s, y, n_samples, std::move(factors), step_size,
                                            {max_iter, tol}, control));
      },
      "s"_a.noconvert(), "y"_a.noconvert(), "n_samples"_a, "factors"_a, "step_size"_a, "max_iter"_a,
      "tol"_a, "progress"_a = py::none());
  m.def(
      "rank_one_descent",
      [](ConstVectorView s, ConstVectorView y, Index n_samples, ConstVectorView source,
         double null_square, int depth, double step_size, Index max_iter, double tol,
         const py::object& progress) {
        PythonControl control(progress);
        py::gil_scoped_release nogil;
        return parts(linear::rank_one_descent(s, y, n_samples, source, null_square, depth,
                                              step_size, {max_iter, tol}, control));
      },
      "s"_a.noconvert(), "y"_a.noconvert(), "n_samples"_a, "source"_a.noconvert(), "null_square"_a,
      "depth"_a, "step_size"_a, "max_iter"_a, "tol"_a, "progress"_a = py::none());
}

void bind_simulate(py::module_& m) {
  m.def("simulation_columns", [] {
    return std::vector<std::string>(linear::simulation_columns.begin(),
                                    linear::simulation_columns.end());
  });
  m.def(
      "simulate",
      [](Index n, ConstVectorView spectrum, ConstRowMatrixView teacher, double noise, double ridge,
         ConstRowMatrixView source_coef, Index n_source, ConstVectorView source_spectrum,
         ConstRowMatrixView source_teacher, double noise_source, double ridge_source,
         ConstRowMatrixView rotation, double depth, int entries, const PhiloxKey& key,
         Index n_repeats, int n_threads, const py::object& progress) {
        PythonControl control(progress);
        py::gil_scoped_release nogil;
        return linear::simulate_linear(
            {n, spectrum, teacher, noise, ridge},
            {source_coef,
             {n_source, source_spectrum, source_teacher, noise_source, ridge_source},
             rotation},
            depth, static_cast<linear::Entries>(entries), key, n_repeats, n_threads, control);
      },
      "n"_a, "spectrum"_a.noconvert(), "teacher"_a.noconvert(), "noise"_a, "ridge"_a,
      "source_coef"_a.noconvert(), "n_source"_a, "source_spectrum"_a.noconvert(),
      "source_teacher"_a.noconvert(), "noise_source"_a, "ridge_source"_a, "rotation"_a.noconvert(),
      "depth"_a, "entries"_a, "key"_a, "n_repeats"_a, "n_threads"_a, "progress"_a = py::none());
}

}  // namespace

void bind_linear(py::module_& parent) {
  auto m = parent.def_submodule("linear");
  bind_relu(m);
  bind_theory(m);
  bind_deep(m);
  bind_simulate(m);
}

}  // namespace retemper::bindings

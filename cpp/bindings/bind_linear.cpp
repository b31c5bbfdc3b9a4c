#include "arrays.hpp"
#include "modules.hpp"
#include "retemper/linear/theory.hpp"

namespace retemper::bindings {

namespace {

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

}  // namespace

void bind_linear(py::module_& parent) {
  auto m = parent.def_submodule("linear");
  bind_theory(m);
}

}  // namespace retemper::bindings

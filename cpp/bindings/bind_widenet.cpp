#include "arrays.hpp"
#include "modules.hpp"
#include "retemper/widenet/kernels.hpp"

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
        py::gil_scoped_release nogil;
        RowMatrix out(X.rows(), X.rows());
        widenet::gaussian_kernel(static_cast<Activation>(activation), X,
                                 {var, var, cov, is_centred}, out, n_threads, control);
        return out;
      },
      "activation"_a, "X"_a.noconvert(), "var"_a.noconvert(), "cov"_a, "is_centred"_a,
      "n_threads"_a);
  m.def(
      "cross_kernel",
      [](int activation, ConstRowMatrixView X, ConstRowMatrixView Y, ConstVectorView row_var,
         ConstVectorView col_var, double cov, bool is_centred, int n_threads) {
        PythonControl control{py::none()};
        py::gil_scoped_release nogil;
        RowMatrix out(X.rows(), Y.rows());
        widenet::gaussian_kernel(static_cast<Activation>(activation), X, Y,
                                 {row_var, col_var, cov, is_centred}, out, n_threads, control);
        return out;
      },
      "activation"_a, "X"_a.noconvert(), "Y"_a.noconvert(), "row_var"_a.noconvert(),
      "col_var"_a.noconvert(), "cov"_a, "is_centred"_a, "n_threads"_a);
  m.def(
      "kernel_of_gram",
      [](int activation, ConstRowMatrixView gram, ConstVectorView row_var, ConstVectorView col_var,
         double cov, bool is_centred, int n_threads) {
        PythonControl control{py::none()};
        py::gil_scoped_release nogil;
        RowMatrix out(gram.rows(), gram.cols());
        widenet::gaussian_kernel_of_gram(static_cast<Activation>(activation), gram,
                                         {row_var, col_var, cov, is_centred}, out, n_threads,
                                         control);
        return out;
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

}  // namespace

void bind_widenet(py::module_& m) {
  auto sub = m.def_submodule("widenet", "Bayesian networks of finite width");
  bind_kernels(sub);
}

}  // namespace retemper::bindings

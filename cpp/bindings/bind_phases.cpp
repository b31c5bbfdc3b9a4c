#include "arrays.hpp"
#include "modules.hpp"
#include "retemper/core/error.hpp"
#include "retemper/phases/fold_moments.hpp"
#include "retemper/phases/mlp.hpp"

namespace retemper::bindings {

namespace {

using Array = py::array_t<double, py::array::c_style>;
using FloatArray = py::array_t<float, py::array::c_style>;
using Folds = py::array_t<Index, py::array::c_style>;

/// The running sums live in numpy arrays of the caller, which add_batch updates in place.
phases::FoldSums view(Array& hh, Array& ht, Array& h, Array& t, Array& tt, Array& count) {
  require(ht.ndim() == 3 && hh.ndim() == 3, "hh and ht must be 3-D");
  const Index f = ht.shape(0), n_h = ht.shape(1), n_t = ht.shape(2);
  require(hh.shape(0) == f && hh.shape(1) == n_h && hh.shape(2) == n_h && h.size() == f * n_h &&
              t.size() == f * n_t && tt.size() == f * n_t && count.size() == f,
          "the sums have different shapes");
  return {f,
          n_h,
          n_t,
          hh.mutable_data(),
          ht.mutable_data(),
          h.mutable_data(),
          t.mutable_data(),
          tt.mutable_data(),
          count.mutable_data()};
}

template <class In>
void add_batch(Array& hh, Array& ht, Array& h, Array& t, Array& tt, Array& count, const In& H,
               const Array& T, const Folds& fold, ConstVectorView shift_h, ConstVectorView shift_t,
               bool is_single, int n_threads) {
  const phases::FoldSums sums = view(hh, ht, h, t, tt, count);
  require(H.ndim() == 2 && T.ndim() == 2 && fold.ndim() == 1 && H.shape(0) == T.shape(0) &&
              fold.shape(0) == H.shape(0) && H.shape(1) == sums.n_units &&
              T.shape(1) == sums.n_targets && shift_h.size() == sums.n_units &&
              shift_t.size() == sums.n_targets,
          "H, T, fold and the shifts do not match the sums");
  PythonControl control(py::none{});
  const auto* H_data = H.data();
  const double* T_data = T.data();
  const Index* fold_data = fold.data();
  const Index n = H.shape(0);
  py::gil_scoped_release nogil;
  phases::add_batch(sums, H_data, T_data, fold_data, n, shift_h, shift_t, is_single, n_threads,
                    control);
}

}  // namespace

void bind_phases(py::module_& parent) {
  auto m = parent.def_submodule("phases");
  const auto bind_add = [&m](auto function) {
    m.def("add_batch", function, "hh"_a.noconvert(), "ht"_a.noconvert(), "h"_a.noconvert(),
          "t"_a.noconvert(), "tt"_a.noconvert(), "count"_a.noconvert(), "H"_a.noconvert(),
          "T"_a.noconvert(), "fold"_a.noconvert(), "shift_h"_a.noconvert(), "shift_t"_a.noconvert(),
          "is_single"_a, "n_threads"_a);
  };
  bind_add(&add_batch<Array>);
  bind_add(&add_batch<FloatArray>);
  m.def(
      "target_products",
      [](Array& hh, Array& ht, Array& h, Array& t, Array& tt, Array& count, Index held_out,
         Index first, Index last, int n_threads) {
        const phases::FoldSums sums = view(hh, ht, h, t, tt, count);
        PythonControl control(py::none{});
        auto out = [&] {
          py::gil_scoped_release nogil;
          return phases::target_products(sums, held_out, first, last, n_threads, control);
        }();
        return std::make_pair(std::move(out.train), std::move(out.cross));
      },
      "hh"_a.noconvert(), "ht"_a.noconvert(), "h"_a.noconvert(), "t"_a.noconvert(),
      "tt"_a.noconvert(), "count"_a.noconvert(), "held_out"_a, "first"_a, "last"_a, "n_threads"_a);
  m.def(
      "count_hits",
      [](ConstRowMatrixView P, ConstRowMatrixView c, ConstRowMatrixView Z, ConstVectorView mean,
         const Folds& label, int n_threads) {
        require(label.ndim() == 1 && label.shape(0) == P.rows(), "P and label do not match");
        const Index* data = label.data();
        py::gil_scoped_release nogil;
        return phases::count_hits(P, c, Z, mean, data, n_threads);
      },
      "P"_a.noconvert(), "c"_a.noconvert(), "Z"_a.noconvert(), "mean"_a.noconvert(),
      "label"_a.noconvert(), "n_threads"_a);
  m.def(
      "mlp_train",
      [](const std::vector<Index>& sizes, int activation, int loss, double learning_rate,
         double momentum, double weight_decay, Index batch_size, ConstVectorView parameters,
         ConstVectorView velocity, ConstRowMatrixView X, ConstRowMatrixView Y, const PhiloxKey& key,
         Index first, Index n_steps, int n_threads, const py::object& progress) {
        PythonControl control(progress);
        const phases::MlpProblem problem{sizes,
                                         static_cast<phases::Activation>(activation),
                                         static_cast<phases::Loss>(loss),
                                         learning_rate,
                                         momentum,
                                         weight_decay,
                                         batch_size};
        auto state = [&] {
          py::gil_scoped_release nogil;
          return phases::train(problem, parameters, velocity, X, Y, key, first, n_steps, n_threads,
                               control);
        }();
        return std::make_tuple(std::move(state.parameters), std::move(state.velocity),
                               std::move(state.loss));
      },
      "sizes"_a, "activation"_a, "loss"_a, "learning_rate"_a, "momentum"_a, "weight_decay"_a,
      "batch_size"_a, "parameters"_a.noconvert(), "velocity"_a.noconvert(), "X"_a.noconvert(),
      "Y"_a.noconvert(), "key"_a, "first"_a, "n_steps"_a, "n_threads"_a, "progress"_a = py::none());
}

}  // namespace retemper::bindings

#include <pybind11/native_enum.h>

#include <tuple>
#include <vector>

#include "arrays.hpp"
#include "modules.hpp"
#include "retemper/core/error.hpp"
#include "retemper/phases/deep_linear.hpp"
#include "retemper/phases/fold_moments.hpp"
#include "retemper/phases/linearised.hpp"
#include "retemper/phases/mlp.hpp"
#include "retemper/phases/two_layer.hpp"

namespace retemper::bindings {

namespace {

namespace ph = phases;

using Array = py::array_t<double, py::array::c_style>;
using FloatArray = py::array_t<float, py::array::c_style>;
using Folds = py::array_t<Index, py::array::c_style>;

/// A view of `data` that lives as long as `owner` and cannot be written to.
py::array_t<double> read_only(const py::object& owner, const Vector& data,
                              const std::vector<Index>& shape) {
  py::array_t<double> out(shape, data.data(), owner);
  out.attr("setflags")("write"_a = false);
  return out;
}

template <class Scalar, class Rows>
void add(ph::FoldSums& sums, const Rows& H, const Array& T, const Folds& fold,
         ph::Precision precision, int n_threads) {
  require(H.ndim() == 2 && T.ndim() == 2 && fold.ndim() == 1 && H.shape(0) == T.shape(0) &&
              fold.shape(0) == H.shape(0) && H.shape(1) == sums.n_units &&
              T.shape(1) == sums.n_targets,
          "H, T and fold do not match the sums");
  PythonControl control{py::none()};
  const ph::Batch<Scalar> batch{H.shape(0), H.data(), T.data(), fold.data()};
  py::gil_scoped_release nogil;
  ph::add_batch(sums, batch, precision, n_threads, control);
}

using SumsState = std::tuple<Index, Vector, Vector, Vector, Vector, Vector, Vector, Vector, Vector>;

SumsState save(const ph::FoldSums& s) {
  return {s.n_folds, s.shift_h, s.shift_t, s.hh, s.ht, s.h, s.t, s.tt, s.count};
}

ph::FoldSums restore(const SumsState& state) {
  const auto& [n_folds, shift_h, shift_t, hh, ht, h, t, tt, count] = state;
  ph::FoldSums s(n_folds, shift_h, shift_t);
  require(hh.size() == s.hh.size() && ht.size() == s.ht.size() && h.size() == s.h.size() &&
              t.size() == s.t.size() && tt.size() == s.tt.size() && count.size() == s.count.size(),
          "the pickled sums have different sizes");
  s.hh = hh;
  s.ht = ht;
  s.h = h;
  s.t = t;
  s.tt = tt;
  s.count = count;
  return s;
}

// fold_moments.hpp
void bind_fold_moments(py::module_& m) {
  py::native_enum<ph::Precision>(m, "Precision", "enum.Enum")
      .value("double", ph::Precision::float64)
      .value("single", ph::Precision::float32)
      .finalize();
  py::class_<ph::FoldSums> sums(m, "FoldSums");
  sums.def(py::init<Index, const ConstVectorView&, const ConstVectorView&>(), "n_folds"_a,
           "shift_h"_a.noconvert(), "shift_t"_a.noconvert());
  const auto field = [&sums](const char* name, Vector ph::FoldSums::* member, auto shape) {
    sums.def_property_readonly(name, [member, shape](const py::object& self) {
      const auto& s = self.cast<const ph::FoldSums&>();
      return read_only(self, s.*member, shape(s));
    });
  };
  using Shape = std::vector<Index>;
  using Sums = ph::FoldSums;
  field("shift_h", &Sums::shift_h, [](const Sums& s) { return Shape{s.n_units}; });
  field("shift_t", &Sums::shift_t, [](const Sums& s) { return Shape{s.n_targets}; });
  field("hh", &Sums::hh, [](const Sums& s) { return Shape{s.n_folds, s.n_units, s.n_units}; });
  field("ht", &Sums::ht, [](const Sums& s) { return Shape{s.n_folds, s.n_units, s.n_targets}; });
  field("h", &Sums::h, [](const Sums& s) { return Shape{s.n_folds, s.n_units}; });
  field("t", &Sums::t, [](const Sums& s) { return Shape{s.n_folds, s.n_targets}; });
  field("tt", &Sums::tt, [](const Sums& s) { return Shape{s.n_folds, s.n_targets}; });
  field("count", &Sums::count, [](const Sums& s) { return Shape{s.n_folds}; });
  sums.def("add", &add<double, Array>, "H"_a.noconvert(), "T"_a.noconvert(), "fold"_a.noconvert(),
           "precision"_a, "n_threads"_a);
  sums.def("add", &add<float, FloatArray>, "H"_a.noconvert(), "T"_a.noconvert(),
           "fold"_a.noconvert(), "precision"_a, "n_threads"_a);
  sums.def(py::pickle(&save, &restore));
  py::class_<ph::TargetProducts>(m, "TargetProducts")
      .def_readonly("train", &ph::TargetProducts::train)
      .def_readonly("cross", &ph::TargetProducts::cross);
  m.def(
      "whole_products",
      [](const ph::FoldSums& s, Index first, Index last, int n_threads) {
        PythonControl control{py::none()};
        py::gil_scoped_release nogil;
        return ph::whole_products(s, first, last, n_threads, control);
      },
      "sums"_a, "first"_a, "last"_a, "n_threads"_a);
  m.def(
      "target_products",
      [](const ph::FoldSums& s, ConstRowMatrixView whole, Index held_out, Index first, Index last,
         int n_threads) {
        PythonControl control{py::none()};
        py::gil_scoped_release nogil;
        return ph::target_products(s, whole, held_out, first, last, n_threads, control);
      },
      "sums"_a, "whole"_a.noconvert(), "held_out"_a, "first"_a, "last"_a, "n_threads"_a);
  m.def(
      "turned",
      [](ConstRowMatrixView a, ConstMatrixView u, int n_threads) {
        PythonControl control{py::none()};
        py::gil_scoped_release nogil;
        return ph::turned(a, u, n_threads, control);
      },
      "a"_a.noconvert(), "u"_a.noconvert(), "n_threads"_a);
  m.def(
      "count_hits",
      [](ConstRowMatrixView P, ConstRowMatrixView c, ConstRowMatrixView Z, ConstVectorView mean,
         const Folds& label, int n_threads) {
        require(label.ndim() == 1 && label.shape(0) == P.rows(), "P and label do not match");
        const Index* data = label.data();
        py::gil_scoped_release nogil;
        return ph::count_hits(P, c, Z, mean, data, n_threads);
      },
      "P"_a.noconvert(), "c"_a.noconvert(), "Z"_a.noconvert(), "mean"_a.noconvert(),
      "label"_a.noconvert(), "n_threads"_a);
}

// mlp.hpp
void bind_mlp(py::module_& m) {
  py::native_enum<ph::Activation>(m, "Activation", "enum.Enum")
      .value("relu", ph::Activation::relu)
      .value("tanh", ph::Activation::tanh)
      .finalize();
  py::native_enum<ph::Loss>(m, "Loss", "enum.Enum")
      .value("softmax", ph::Loss::softmax)
      .value("squared", ph::Loss::squared)
      .finalize();
  py::class_<ph::MlpProblem>(m, "MlpProblem")
      .def(py::init([](const std::vector<Index>& sizes, ph::Activation activation, ph::Loss loss,
                       double learning_rate, double momentum, double weight_decay,
                       Index batch_size) {
             return ph::MlpProblem{sizes,    activation,   loss,      learning_rate,
                                   momentum, weight_decay, batch_size};
           }),
           py::kw_only(), "sizes"_a, "activation"_a, "loss"_a, "learning_rate"_a, "momentum"_a,
           "weight_decay"_a, "batch_size"_a);
  py::class_<ph::MlpState>(m, "MlpState")
      .def(py::init([](const ConstVectorView& parameters) {
             return ph::MlpState{parameters, Vector::Zero(parameters.size()), 0, {}};
           }),
           "parameters"_a.noconvert())
      .def_readonly("parameters", &ph::MlpState::parameters)
      .def_readonly("velocity", &ph::MlpState::velocity)
      .def_readonly("step", &ph::MlpState::step)
      .def_readonly("loss", &ph::MlpState::loss);
  m.def(
      "mlp_train",
      [](const ph::MlpProblem& problem, const ph::MlpState& start, ConstRowMatrixView X,
         ConstRowMatrixView Y, const PhiloxKey& key, Index n_steps, int n_threads,
         const py::object& progress) {
        PythonControl control(progress);
        py::gil_scoped_release nogil;
        return ph::train(problem, start, X, Y, key, n_steps, n_threads, control);
      },
      "problem"_a, "start"_a, "X"_a.noconvert(), "Y"_a.noconvert(), "key"_a, "n_steps"_a,
      "n_threads"_a, "progress"_a = py::none());
}

/// What an integration reached.
template <class Integrate>
py::dict run_flow(Integrate integrate) {
  numerics::Trajectory path = run(py::none(), integrate);
  return py::dict("y"_a = std::move(path.y), "time"_a = path.t, "n_steps"_a = path.n_steps,
                  "status"_a = name_of(path.status));
}

// two_layer.hpp
void bind_two_layer(py::module_& m) {
  py::native_enum<ph::UnitKind>(m, "UnitKind", "enum.Enum")
      .value("erf", ph::UnitKind::erf)
      .value("relu", ph::UnitKind::relu)
      .value("linear", ph::UnitKind::linear)
      .finalize();
  py::class_<ph::TwoLayerProblem>(m, "TwoLayerProblem")
      .def(py::init([](Vector spectrum, Vector values, Vector counts, RowMatrix teacher,
                       Vector teacher_readout, ph::UnitKind kind, bool train_readout,
                       double weight_decay, double noise_var) {
             return ph::TwoLayerProblem{std::move(spectrum),
                                        std::move(values),
                                        std::move(counts),
                                        std::move(teacher),
                                        std::move(teacher_readout),
                                        kind,
                                        train_readout,
                                        weight_decay,
                                        noise_var};
           }),
           py::kw_only(), "spectrum"_a.noconvert(), "values"_a.noconvert(), "counts"_a.noconvert(),
           "teacher"_a.noconvert(), "teacher_readout"_a.noconvert(), "kind"_a, "train_readout"_a,
           "weight_decay"_a, "noise_var"_a);
  py::class_<ph::TwoLayerState>(m, "TwoLayerState")
      .def(py::init([](RowMatrix w, Vector readout, RowMatrix spread) {
             return ph::TwoLayerState{std::move(w), std::move(readout), std::move(spread), 0};
           }),
           "w"_a.noconvert(), "readout"_a.noconvert(), "spread"_a.noconvert())
      .def_readonly("w", &ph::TwoLayerState::w)
      .def_readonly("readout", &ph::TwoLayerState::readout)
      .def_readonly("spread", &ph::TwoLayerState::spread)
      .def_readonly("step", &ph::TwoLayerState::step);
  m.def(
      "two_layer_descend",
      [](const ph::TwoLayerProblem& problem, const ph::TwoLayerState& state, double step_size,
         Index batch_size, Index n_steps, double largest) {
        PythonControl control{py::none()};
        py::gil_scoped_release nogil;
        return ph::descend(problem, state, step_size, batch_size, n_steps, largest, control);
      },
      "problem"_a, "state"_a, "step_size"_a, "batch_size"_a, "n_steps"_a, "largest"_a);
  m.def(
      "two_layer_flow",
      [](const ph::TwoLayerProblem& problem, const ph::TwoLayerState& start,
         const ConstVectorView& times, double largest, double rtol, double atol, Index max_steps) {
        return run_flow([&](Control& control) {
          return ph::flow(problem, start, times, largest, {rtol, atol, max_steps}, control);
        });
      },
      "problem"_a, "start"_a, "times"_a.noconvert(), "largest"_a, "rtol"_a, "atol"_a,
      "max_steps"_a);
}

// deep_linear.hpp
void bind_deep_linear(py::module_& m) {
  py::class_<ph::DeepLinearProblem>(m, "DeepLinearProblem")
      .def(py::init([](Vector spectrum, Vector signal, double init_scale, Index depth,
                       double weight_decay) {
             return ph::DeepLinearProblem{std::move(spectrum), std::move(signal), init_scale, depth,
                                          weight_decay};
           }),
           py::kw_only(), "spectrum"_a.noconvert(), "signal"_a.noconvert(), "init_scale"_a,
           "depth"_a, "weight_decay"_a);
  m.def(
      "deep_linear_descend",
      [](const ph::DeepLinearProblem& problem, double step_size, const std::vector<Index>& steps) {
        PythonControl control{py::none()};
        py::gil_scoped_release nogil;
        return ph::descend(problem, step_size, steps, control);
      },
      "problem"_a, "step_size"_a, "steps"_a);
  m.def(
      "deep_linear_flow",
      [](const ph::DeepLinearProblem& problem, const ConstVectorView& times, double rtol,
         double atol, Index max_steps) {
        return run_flow([&](Control& control) {
          return ph::flow(problem, times, {rtol, atol, max_steps}, control);
        });
      },
      "problem"_a, "times"_a.noconvert(), "rtol"_a, "atol"_a, "max_steps"_a);
}

// linearised.hpp
void bind_linearised(py::module_& m) {
  m.def(
      "linearised_flow",
      [](const ph::MlpProblem& problem, const ConstVectorView& start, ConstRowMatrixView X,
         ConstRowMatrixView Y, const ConstVectorView& times, double rtol, double atol,
         Index max_steps) {
        return run_flow([&](Control& control) {
          return ph::linearised_flow(problem, start, X, Y, times, {rtol, atol, max_steps}, control);
        });
      },
      "problem"_a, "start"_a.noconvert(), "X"_a.noconvert(), "Y"_a.noconvert(),
      "times"_a.noconvert(), "rtol"_a, "atol"_a, "max_steps"_a);
}

}  // namespace

void bind_phases(py::module_& parent) {
  auto m = parent.def_submodule("phases", "Sums over activations, and a small network");
  bind_fold_moments(m);
  bind_mlp(m);
  bind_two_layer(m);
  bind_deep_linear(m);
  bind_linearised(m);
}

}  // namespace retemper::bindings

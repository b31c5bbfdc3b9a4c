#include <pybind11/native_enum.h>

#include <limits>

#include "arrays.hpp"
#include "modules.hpp"
#include "retemper/linear/deep.hpp"
#include "retemper/linear/logistic.hpp"
#include "retemper/linear/relu.hpp"
#include "retemper/linear/simulate.hpp"
#include "retemper/linear/theory.hpp"

namespace retemper::bindings {

namespace {

namespace ln = linear;

template <class Result>
const char* status_of(const Result& result) {
  return name_of(result.status);
}

std::vector<std::string> names_of(const std::vector<Status>& status) {
  std::vector<std::string> names;
  for (Status one : status) names.emplace_back(name_of(one));
  return names;
}

// relu.hpp

/// numpy allocates the kernel: it asks for huge pages, which halves the time of a small one
py::array_t<double> relu_ntk(const ConstRowMatrixView& X, int n_threads,
                             const py::object& progress) {
  NumpyMatrix kernel(X.rows(), X.rows());
  run(progress, [&](Control& control) { ln::relu_ntk(X, kernel.map, n_threads, control); });
  return kernel.array;
}

py::array_t<double> relu_ntk_cross(const ConstRowMatrixView& X, const ConstRowMatrixView& Y,
                                   int n_threads, const py::object& progress) {
  NumpyMatrix kernel(X.rows(), Y.rows());
  run(progress, [&](Control& control) { ln::relu_ntk(X, Y, kernel.map, n_threads, control); });
  return kernel.array;
}

void bind_relu(py::module_& m) {
  m.def("relu_ntk", &relu_ntk, "X"_a.noconvert(), "n_threads"_a, "progress"_a = py::none());
  m.def("relu_ntk_cross", &relu_ntk_cross, "X"_a.noconvert(), "Y"_a.noconvert(), "n_threads"_a,
        "progress"_a = py::none());
  m.def(
      "relu_network_predict",
      [](const ConstRowMatrixView& W, const ConstVectorView& a, const ConstRowMatrixView& X,
         int n_threads, const py::object& progress) {
        return run(progress, [&](Control& control) {
          return ln::relu_network_predict(W, a, X, n_threads, control);
        });
      },
      "W"_a.noconvert(), "a"_a.noconvert(), "X"_a.noconvert(), "n_threads"_a,
      "progress"_a = py::none());
  py::class_<ln::ReluTraining>(m, "ReluTraining", "How a network is trained; see relu.hpp.")
      .def(py::init(
               [](double step_size, double ridge, bool fit_intercept, Index max_iter, double tol) {
                 return ln::ReluTraining{step_size, ridge, fit_intercept, {max_iter, tol, 0.0}};
               }),
           py::kw_only(), "step_size"_a, "ridge"_a, "fit_intercept"_a, "max_iter"_a, "tol"_a);
  py::class_<ln::ReluFit>(m, "ReluFit", "A trained network: W (m, d), loss (n_iter + 1,).")
      .def_readonly("W", &ln::ReluFit::W)
      .def_readonly("intercept", &ln::ReluFit::intercept)
      .def_readonly("loss", &ln::ReluFit::loss)
      .def_readonly("residual", &ln::ReluFit::residual)
      .def_readonly("n_iter", &ln::ReluFit::n_iter)
      .def_property_readonly("status", &status_of<ln::ReluFit>);
  m.def(
      "relu_network_fit",
      [](const ConstRowMatrixView& W, const ConstVectorView& a, const ConstRowMatrixView& X,
         const ConstVectorView& y, const ln::ReluTraining& training, int n_threads,
         const py::object& progress) {
        return run(progress, [&](Control& control) {
          return ln::relu_network_fit(W, a, X, y, training, n_threads, control);
        });
      },
      "W"_a.noconvert(), "a"_a.noconvert(), "X"_a.noconvert(), "y"_a.noconvert(), "training"_a,
      "n_threads"_a, "progress"_a = py::none());
}

// theory.hpp

void bind_linear_theory(py::module_& m) {
  py::class_<ln::EffectiveRidge>(m, "EffectiveRidge", "Roots at k points, (k,) each.")
      .def_readonly("effective_ridge", &ln::EffectiveRidge::effective_ridge)
      .def_readonly("df1", &ln::EffectiveRidge::df1)
      .def_readonly("df2", &ln::EffectiveRidge::df2)
      .def_readonly("residual", &ln::EffectiveRidge::residual)
      .def_readonly("n_iter", &ln::EffectiveRidge::n_iter)
      .def_readonly("status", &ln::EffectiveRidge::status);
  m.def(
      "effective_ridge",
      [](const ConstVectorView& spectrum, const ConstVectorView& n_samples,
         const ConstVectorView& ridge, int n_threads, const py::object& progress) {
        return run(progress, [&](Control& control) {
          return ln::effective_ridge(spectrum, n_samples, ridge, n_threads, control);
        });
      },
      "spectrum"_a.noconvert(), "n_samples"_a.noconvert(), "ridge"_a.noconvert(), "n_threads"_a,
      "progress"_a = py::none());
  py::native_enum<ln::Metric>(m, "Metric", "enum.Enum", "Diagonal metrics of metric_sums.")
      .value("bias", ln::Metric::bias)
      .value("fitted", ln::Metric::fitted)
      .value("rest", ln::Metric::rest)
      .finalize();
  m.def(
      "metric_sums",
      [](const ConstVectorView& spectrum, const ConstRowMatrixView& weights,
         const ConstVectorView& effective_ridge, ln::Metric metric, int n_threads) {
        return run(py::none(), [&](Control& control) {
          return ln::metric_sums(spectrum, weights, effective_ridge, metric, n_threads, control);
        });
      },
      "spectrum"_a.noconvert(), "weights"_a.noconvert(), "effective_ridge"_a.noconvert(),
      "metric"_a, "n_threads"_a);
  py::class_<ln::DescentRisk>(m, "DescentRisk", "Mean risk of one-pass descent at k steps.")
      .def_readonly("weights", &ln::DescentRisk::weights)
      .def_readonly("variance", &ln::DescentRisk::variance);
  m.def(
      "descent_risk",
      [](const ConstVectorView& spectrum, const ln::IndexVector& steps, double step_size,
         double batch_size) {
        return run(py::none(), [&](Control& control) {
          return ln::descent_risk(spectrum, steps, step_size, batch_size, control);
        });
      },
      "spectrum"_a.noconvert(), "steps"_a, "step_size"_a, "batch_size"_a);
  py::class_<ln::TopKBound>(m, "TopKBound", "The smallest bounds at k points, (k,) each.")
      .def_readonly("bound", &ln::TopKBound::bound)
      .def_readonly("bound_k", &ln::TopKBound::bound_k);
  m.def(
      "top_k_bound",
      [](const ConstVectorView& spectrum, const ConstRowMatrixView& weights,
         const ConstRowMatrixView& coef, const ConstVectorView& n_samples,
         const ConstVectorView& ridge, const ConstVectorView& effective_ridge, int n_threads) {
        return run(py::none(), [&](Control& control) {
          return ln::top_k_bound(spectrum, weights, coef, n_samples, ridge, effective_ridge,
                                 n_threads, control);
        });
      },
      "spectrum"_a.noconvert(), "weights"_a.noconvert(), "coef"_a.noconvert(),
      "n_samples"_a.noconvert(), "ridge"_a.noconvert(), "effective_ridge"_a.noconvert(),
      "n_threads"_a);
  py::class_<ln::DeepScale>(m, "DeepScale", "Source scales at k points, (k,) each.")
      .def_readonly("scale", &ln::DeepScale::scale)
      .def_readonly("n_iter", &ln::DeepScale::n_iter);
  m.def("deep_scale", &ln::deep_scale, "a2"_a.noconvert(), "p2"_a.noconvert(), "q2"_a.noconvert(),
        "depth"_a.noconvert(), ReleaseGil());
}

// deep.hpp

void bind_deep(py::module_& m) {
  m.attr("largest_gram_condition") = numerics::largest_gram_condition;
  py::class_<numerics::ThinSvd>(m, "RowSpace", "x = u diag(s) v, singular values descending.")
      .def(py::init([](Matrix u, Vector s, RowMatrix v) {
             return numerics::ThinSvd{std::move(u), std::move(s), std::move(v)};
           }),
           py::kw_only(), "u"_a, "s"_a, "v"_a)
      .def_readonly("u", &numerics::ThinSvd::u)
      .def_readonly("s", &numerics::ThinSvd::s)
      .def_readonly("v", &numerics::ThinSvd::v);
  m.def("row_space", py::overload_cast<const ConstRowMatrixView&>(&numerics::thin_svd),
        "x"_a.noconvert(), ReleaseGil());
  m.def(
      "row_space_of_gram",
      py::overload_cast<const ConstRowMatrixView&, const ConstVectorView&, const ConstMatrixView&>(
          &numerics::thin_svd),
      "x"_a.noconvert(), "eigenvalues"_a.noconvert(), "eigenvectors"_a.noconvert(), ReleaseGil());
  py::class_<ln::DeepFit>(m, "DeepFit", "End points of k networks: coef (k, d), else (k,) each.")
      .def_readonly("coef", &ln::DeepFit::coef)
      .def_readonly("source_scale", &ln::DeepFit::source_scale)
      .def_readonly("fit_norm", &ln::DeepFit::fit_norm)
      .def_readonly("row_norm", &ln::DeepFit::row_norm)
      .def_readonly("null_norm", &ln::DeepFit::null_norm)
      .def_readonly("residual", &ln::DeepFit::residual)
      .def_readonly("n_iter", &ln::DeepFit::n_iter)
      .def_property_readonly("status", [](const ln::DeepFit& fit) { return names_of(fit.status); });
  m.def("deep_fit", &ln::deep_fit, "space"_a, "y"_a.noconvert(), "source"_a.noconvert(), "depth"_a,
        "ridge"_a, ReleaseGil());
  py::class_<ln::Descent>(m, "Descent", "Factors W_1 .. W_L at the end of gradient descent.")
      .def_readonly("factors", &ln::Descent::factors)
      .def_readonly("residual", &ln::Descent::residual)
      .def_readonly("n_iter", &ln::Descent::n_iter)
      .def_property_readonly("status", &status_of<ln::Descent>);
  m.def(
      "factor_descent",
      [](const ConstVectorView& s, const ConstRowMatrixView& y, Index n_samples,
         std::vector<RowMatrix> factors, double step_size, Index max_iter, double tol,
         const py::object& progress) {
        return run(progress, [&](Control& control) {
          return ln::factor_descent(s, y, n_samples, std::move(factors), step_size, {max_iter, tol},
                                    control);
        });
      },
      "s"_a.noconvert(), "y"_a.noconvert(), "n_samples"_a, "factors"_a, py::kw_only(),
      "step_size"_a, "max_iter"_a, "tol"_a, "progress"_a = py::none());
  m.def(
      "rank_one_descent",
      [](const ConstVectorView& s, const ConstVectorView& y, Index n_samples,
         const ConstVectorView& source, double null_square, int depth, double step_size,
         Index max_iter, double tol, const py::object& progress) {
        return run(progress, [&](Control& control) {
          return ln::rank_one_descent(s, y, n_samples, source, null_square, depth, step_size,
                                      {max_iter, tol}, control);
        });
      },
      "s"_a.noconvert(), "y"_a.noconvert(), "n_samples"_a, "source"_a.noconvert(), py::kw_only(),
      "null_square"_a, "depth"_a, "step_size"_a, "max_iter"_a, "tol"_a, "progress"_a = py::none());
}

// logistic.hpp

void bind_logistic(py::module_& m) {
  py::class_<ln::LogisticCoef>(m, "LogisticCoef", "Slopes (m, r), offset (m,), fitted factor.")
      .def(py::init([](RowMatrix slopes, Vector offset, double source_scale) {
             return ln::LogisticCoef{std::move(slopes), std::move(offset), source_scale};
           }),
           py::kw_only(), "slopes"_a, "offset"_a, "source_scale"_a)
      .def_readonly("slopes", &ln::LogisticCoef::slopes)
      .def_readonly("offset", &ln::LogisticCoef::offset)
      .def_readonly("source_scale", &ln::LogisticCoef::source_scale);
  py::class_<ln::LogisticStretch>(m, "LogisticStretch",
                                  "Held-out logits (R * held, m), residual (R, F), status (R * F).")
      .def_readonly("logits", &ln::LogisticStretch::logits)
      .def_readonly("residual", &ln::LogisticStretch::residual)
      .def_readonly("n_iter", &ln::LogisticStretch::n_iter)
      .def_property_readonly(
          "status", [](const ln::LogisticStretch& stretch) { return names_of(stretch.status); });
  py::class_<ln::LogisticFolds, std::shared_ptr<ln::LogisticFolds>>(
      m, "LogisticFolds", "Splits of one sample (n, r), each in its own coordinates.")
      .def(py::init([](RowMatrix rows, std::vector<Index> label, Index n_classes, Vector weight,
                       bool fit_intercept,
                       std::vector<std::pair<std::vector<Index>, std::vector<Index>>> splits,
                       int n_threads) {
             std::vector<ln::LogisticSplit> pairs;
             for (auto& [train, held] : splits)
               pairs.push_back({std::move(train), std::move(held)});
             return run(py::none(), [&](Control& control) {
               return std::make_shared<ln::LogisticFolds>(
                   ln::LabelledRows{std::move(rows), std::move(label), n_classes, std::move(weight),
                                    fit_intercept},
                   std::move(pairs), n_threads, control);
             });
           }),
           py::kw_only(), "rows"_a, "label"_a, "n_classes"_a, "weight"_a, "fit_intercept"_a,
           "splits"_a, "n_threads"_a);
  py::class_<ln::LogisticRun>(m, "LogisticRun", "Fits of all splits along a path of ridges.")
      .def(py::init([](const std::shared_ptr<ln::LogisticFolds>& folds,
                       const ConstRowMatrixView& offset, const ConstRowMatrixView& source,
                       double scale_ridge) {
             return ln::LogisticRun(folds, offset, source, scale_ridge);
           }),
           "folds"_a, "offset"_a.noconvert(), "source"_a.noconvert(), "scale_ridge"_a)
      .def("start_at", &ln::LogisticRun::start_at, "fit"_a)
      .def(
          "advance",
          [](ln::LogisticRun& self, const ConstVectorView& ridges, Index max_iter, double tol,
             int n_threads) {
            return run(py::none(), [&](Control& control) {
              return self.advance(ridges, {max_iter, tol, 0.0}, n_threads, control);
            });
          },
          "ridges"_a.noconvert(), py::kw_only(), "max_iter"_a, "tol"_a, "n_threads"_a)
      .def("coef", &ln::LogisticRun::coef, "fold"_a);
}

// simulate.hpp

void bind_linear_simulate(py::module_& m) {
  py::native_enum<ln::Entries>(m, "Entries", "enum.Enum", "Law of the whitened inputs.")
      .value("gaussian", ln::Entries::gaussian)
      .value("rademacher", ln::Entries::rademacher)
      .value("student", ln::Entries::student)
      .value("given", ln::Entries::given)
      .finalize();
  py::class_<ln::Task>(m, "Task", "One regression task in the eigenbasis of its covariance.")
      .def(py::init([](Index n_samples, Vector spectrum, RowMatrix teacher, double noise,
                       double ridge, double stop_time, Vector row_scale, Vector row_noise,
                       double step_size, Index batch_size, Index n_steps, RowMatrix entries) {
             return ln::Task{
                 n_samples, std::move(spectrum),  std::move(teacher),   noise,     ridge,
                 stop_time, std::move(row_scale), std::move(row_noise), step_size, batch_size,
                 n_steps,   std::move(entries)};
           }),
           py::kw_only(), "n_samples"_a, "spectrum"_a, "teacher"_a, "noise"_a, "ridge"_a,
           "stop_time"_a = std::numeric_limits<double>::infinity(), "row_scale"_a = Vector(),
           "row_noise"_a = Vector(), "step_size"_a = 0.0, "batch_size"_a = 1, "n_steps"_a = -1,
           "entries"_a = RowMatrix());
  py::class_<ln::Source>(m, "Source", "A fixed source, or the task it is fitted on anew.")
      .def_static(
          "fixed", [](RowMatrix coef) { return ln::Source{std::move(coef), {}, {}}; }, "coef"_a)
      .def_static(
          "finite",
          [](const ln::Task& task, RowMatrix rotation) {
            return ln::Source{{}, task, std::move(rotation)};
          },
          "task"_a, "rotation"_a);
  py::class_<ln::Simulation>(m, "Simulation", "What every repeat measures, (n_repeats,) each.")
      .def_readonly("risk", &ln::Simulation::risk)
      .def_readonly("bias", &ln::Simulation::bias)
      .def_readonly("variance", &ln::Simulation::variance)
      .def_readonly("effective_ridge", &ln::Simulation::effective_ridge)
      .def_readonly("df1", &ln::Simulation::df1)
      .def_readonly("df2", &ln::Simulation::df2)
      .def_readonly("risk_scratch", &ln::Simulation::risk_scratch)
      .def_readonly("risk_zero_shot", &ln::Simulation::risk_zero_shot)
      .def_readonly("training_error", &ln::Simulation::training_error)
      .def_readonly("cross", &ln::Simulation::cross)
      .def_readonly("spread", &ln::Simulation::spread)
      .def_readonly("source_scale", &ln::Simulation::source_scale);
  m.def(
      "simulate",
      [](const ln::Task& target, const ln::Source& source, double depth, double source_scale,
         ln::Entries entries, const PhiloxKey& key, Index n_repeats, int n_threads,
         const py::object& progress) {
        return run(progress, [&](Control& control) {
          return ln::simulate_linear(target, source, depth, source_scale, entries, key, n_repeats,
                                     n_threads, control);
        });
      },
      "target"_a, "source"_a, py::kw_only(), "depth"_a, "source_scale"_a, "entries"_a, "key"_a,
      "n_repeats"_a, "n_threads"_a, "progress"_a = py::none());
}

}  // namespace

void bind_linear(py::module_& parent) {
  auto m = parent.def_submodule("linear", "Linear teachers.");
  bind_relu(m);
  bind_linear_theory(m);
  bind_deep(m);
  bind_logistic(m);
  bind_linear_simulate(m);
}

}  // namespace retemper::bindings

#include <pybind11/native_enum.h>

#include <optional>

#include "arrays.hpp"
#include "modules.hpp"
#include "retemper/core/status.hpp"
#include "retemper/perceptron/channel.hpp"
#include "retemper/perceptron/errors.hpp"
#include "retemper/perceptron/infer.hpp"
#include "retemper/perceptron/label_averages.hpp"
#include "retemper/perceptron/scalar_channel.hpp"
#include "retemper/perceptron/simulate.hpp"
#include "retemper/perceptron/theory.hpp"

namespace retemper::bindings {

namespace {

namespace pc = perceptron;

/// As pc::ChannelScore, in arrays that Python owns: long ones are not copied.
struct ScoreArrays {
  py::array_t<double> log_w, g, dg;
};

ScoreArrays channel_score(const pc::RowLaw& law, pc::RowKind kind, const ConstVectorView& mean,
                          const ConstVectorView& variance, int n_threads) {
  pc::ChannelScore s = [&] {
    py::gil_scoped_release nogil;
    return pc::channel_score(law, kind, mean, variance, n_threads);
  }();
  return {py::cast(std::move(s.log_w)), py::cast(std::move(s.g)), py::cast(std::move(s.dg))};
}

void bind_channel(py::module_& m) {
  py::native_enum<pc::Law>(m, "Law", "enum.Enum", "What separates the two sides of the rows.")
      .value("margin", pc::Law::margin)
      .value("cluster", pc::Law::cluster)
      .finalize();
  py::native_enum<pc::RowKind>(m, "RowKind", "enum.Enum", "What is known about a row.")
      .value("unlabelled", pc::RowKind::unlabelled)
      .value("positive", pc::RowKind::positive)
      .value("negative", pc::RowKind::negative)
      .finalize();
  py::class_<pc::RowLaw>(m, "RowLaw", "Law of the rows.")
      .def(py::init([](pc::Law law, double kappa, double sigma, double eta_u, double eta_l,
                       double cluster_mean, double offset, bool is_centred) {
             const pc::RowLaw out{law,   kappa,        sigma,  eta_u,
                                  eta_l, cluster_mean, offset, is_centred};
             out.validate();
             return out;
           }),
           py::kw_only(), "law"_a, "kappa"_a, "sigma"_a, "eta_u"_a, "eta_l"_a, "cluster_mean"_a,
           "offset"_a, "is_centred"_a)
      .def_readonly("law", &pc::RowLaw::law)
      .def_readonly("kappa", &pc::RowLaw::kappa)
      .def_readonly("sigma", &pc::RowLaw::sigma)
      .def_readonly("eta_u", &pc::RowLaw::eta_u)
      .def_readonly("eta_l", &pc::RowLaw::eta_l)
      .def_readonly("cluster_mean", &pc::RowLaw::cluster_mean)
      .def_readonly("offset", &pc::RowLaw::offset)
      .def_readonly("is_centred", &pc::RowLaw::is_centred);
  py::class_<pc::HermiteMoments>(m, "HermiteMoments", "E h and E h^2 - 1 of a kind of row.")
      .def_readonly("first", &pc::HermiteMoments::first)
      .def_readonly("second", &pc::HermiteMoments::second);
  m.def(
      "hermite_moments",
      [](const pc::RowLaw& law, pc::RowKind kind) { return pc::Channel(law, kind).moments(); },
      "law"_a, "kind"_a);
  py::class_<ScoreArrays>(m, "ChannelScore", "ln W of fields and its derivatives: (n,) each.")
      .def_readonly("log_w", &ScoreArrays::log_w)
      .def_readonly("g", &ScoreArrays::g)
      .def_readonly("dg", &ScoreArrays::dg);
  m.def("channel_score", &channel_score, "law"_a, "kind"_a, "mean"_a.noconvert(),
        "variance"_a.noconvert(), "n_threads"_a);
}

void bind_perceptron_theory(py::module_& m) {
  py::native_enum<pc::Prior>(m, "Prior", "enum.Enum", "Law of the weights.")
      .value("sphere", pc::Prior::sphere)
      .value("binary", pc::Prior::binary)
      .finalize();

  py::class_<pc::FixedPoint>(m, "FixedPoint", "One fixed point of the Bayes-optimal theory.")
      .def_readonly("q", &pc::FixedPoint::q)
      .def_readonly("V", &pc::FixedPoint::V)
      .def_readonly("free_entropy", &pc::FixedPoint::free_entropy)
      .def_readonly("stability", &pc::FixedPoint::stability)
      .def_readonly("label_equivalent", &pc::FixedPoint::label_equivalent)
      .def_readonly("residual", &pc::FixedPoint::residual)
      .def_readonly("error", &pc::FixedPoint::error);
  m.def(
      "fixed_points",
      [](const pc::RowLaw& law, pc::Prior prior, ConstVectorView alpha_u, ConstVectorView alpha_l,
         int n_threads, const py::object& progress) {
        return run(progress, [&](Control& control) {
          return pc::fixed_points(law, prior, alpha_u, alpha_l, n_threads, control);
        });
      },
      "law"_a, "prior"_a, "alpha_u"_a.noconvert(), "alpha_l"_a.noconvert(), "n_threads"_a,
      "progress"_a = py::none());

  py::class_<pc::Transitions>(m, "Transitions", "Thresholds along alpha_u.")
      .def_readonly("first_order", &pc::Transitions::first_order)
      .def_readonly("alpha_c", &pc::Transitions::alpha_c)
      .def_readonly("alpha_sp_minus", &pc::Transitions::alpha_sp_minus)
      .def_readonly("q_sp_minus", &pc::Transitions::q_sp_minus)
      .def_readonly("alpha_it", &pc::Transitions::alpha_it)
      .def_readonly("q_it_low", &pc::Transitions::q_it_low)
      .def_readonly("q_it_high", &pc::Transitions::q_it_high)
      .def_readonly("alpha_alg", &pc::Transitions::alpha_alg)
      .def_readonly("q_alg", &pc::Transitions::q_alg);
  m.def(
      "transitions",
      [](const pc::RowLaw& law, double alpha_l, int n_threads) {
        return run(py::none(), [&](Control& control) {
          return pc::transitions(law, alpha_l, n_threads, control);
        });
      },
      "law"_a, "alpha_l"_a, "n_threads"_a);

  py::class_<pc::CriticalPoint>(m, "CriticalPoint", "End of the first-order line.")
      .def_property_readonly("status", [](const pc::CriticalPoint& c) { return name_of(c.status); })
      .def_readonly("alpha_l", &pc::CriticalPoint::alpha_l)
      .def_readonly("alpha_u", &pc::CriticalPoint::alpha_u)
      .def_readonly("q", &pc::CriticalPoint::q);
  m.def(
      "critical_line",
      [](const pc::RowLaw& law, int n_threads) {
        return run(py::none(),
                   [&](Control& control) { return pc::critical_line(law, n_threads, control); });
      },
      "law"_a, "n_threads"_a);
  m.def(
      "labels_to_leave",
      [](const pc::RowLaw& law, double alpha_u, int n_threads) {
        return run(py::none(), [&](Control& control) {
          return pc::labels_to_leave(law, alpha_u, n_threads, control);
        });
      },
      "law"_a, "alpha_u"_a, "n_threads"_a);

  py::class_<pc::MomentTable>(m, "MomentTable", "Averages of one kind of row: (n,) each.")
      .def_readonly("overlap", &pc::MomentTable::overlap)
      .def_readonly("slope", &pc::MomentTable::slope)
      .def_readonly("entropy", &pc::MomentTable::entropy);
  py::class_<pc::CurveTable>(m, "CurveTable", "Points of the curve of fixed points: (n,) each.")
      .def_readonly("b", &pc::CurveTable::b)
      .def_readonly("q", &pc::CurveTable::q)
      .def_readonly("V", &pc::CurveTable::V)
      .def_readonly("dq", &pc::CurveTable::dq)
      .def_readonly("prior_entropy", &pc::CurveTable::prior_entropy)
      .def_readonly("unlabelled", &pc::CurveTable::unlabelled)
      .def_readonly("labelled", &pc::CurveTable::labelled);
  m.def(
      "curve_table",
      [](const pc::RowLaw& law, pc::Prior prior, ConstVectorView log_b, int n_threads) {
        return run(py::none(), [&](Control& control) {
          return pc::curve_table(law, prior, log_b, n_threads, control);
        });
      },
      "law"_a, "prior"_a, "log_b"_a.noconvert(), "n_threads"_a);

  py::class_<pc::MismatchSolution>(m, "MismatchSolution", "Fixed point of a mismatched student.")
      .def_property_readonly("q", [](const pc::MismatchSolution& s) { return s.at.q; })
      .def_property_readonly("m", [](const pc::MismatchSolution& s) { return s.at.m; })
      .def_readonly("free_entropy", &pc::MismatchSolution::free_entropy)
      .def_readonly("replicon", &pc::MismatchSolution::replicon)
      .def_readonly("residual", &pc::MismatchSolution::residual)
      .def_readonly("error", &pc::MismatchSolution::error)
      .def_readonly("n_iter", &pc::MismatchSolution::n_iter)
      .def_property_readonly("status",
                             [](const pc::MismatchSolution& s) { return name_of(s.status); });
  m.def(
      "solve_mismatched",
      [](const pc::RowLaw& student, const pc::RowLaw& teacher, double alpha_u, double alpha_l,
         double q, double overlap, Index max_iter, double tol, const py::object& progress) {
        return run(progress, [&](Control& control) {
          return pc::solve_mismatched(student, teacher, alpha_u, alpha_l, {q, overlap},
                                      {max_iter, tol, 0.5}, control);
        });
      },
      "student"_a, "teacher"_a, "alpha_u"_a, "alpha_l"_a, "q"_a, "m"_a, "max_iter"_a, "tol"_a,
      "progress"_a = py::none());

  py::class_<pc::OverlapPath>(m, "OverlapPath", "Overlaps iteration by iteration: (n + 1,) each.")
      .def_readonly("q", &pc::OverlapPath::q)
      .def_readonly("m", &pc::OverlapPath::m);
  m.def(
      "state_evolution",
      [](const pc::RowLaw& student, const pc::RowLaw& teacher, pc::Prior prior, double alpha_u,
         double alpha_l, double q, double overlap, Index n_iter) {
        return run(py::none(), [&](Control& control) {
          return pc::state_evolution(student, teacher, prior, alpha_u, alpha_l, {q, overlap},
                                     n_iter, control);
        });
      },
      "student"_a, "teacher"_a, "prior"_a, "alpha_u"_a, "alpha_l"_a, "q"_a, "m"_a, "n_iter"_a);
}

template <class Real>
using RowsView = py::array_t<Real, py::array::c_style>;
using Bytes = py::array_t<std::int8_t, py::array::c_style>;

pc::Rows rows_of(const RowsView<double>& X) {
  return {X.data(), nullptr, X.shape(0), X.shape(1)};
}
pc::Rows rows_of(const RowsView<float>& X) {
  return {nullptr, X.data(), X.shape(0), X.shape(1)};
}

/// role: (n_problems, n_rows); start: (n_problems, n_features).
template <class Real>
pc::AmpRuns amp(const RowsView<Real>& X, const Bytes& role, const std::vector<pc::RowLaw>& laws,
                pc::Prior prior, ConstRowMatrixView start, Index max_iter, double tol,
                double damping, int n_threads,
                const std::optional<py::array_t<double, py::array::c_style>>& truth,
                const py::object& progress) {
  const pc::Rows rows = rows_of(X);
  require(role.ndim() == 2 && role.shape(0) == static_cast<Index>(laws.size()) &&
              role.shape(1) == rows.n_rows,
          "role must have shape (n_problems, n_rows)");
  require(!truth || truth->size() == rows.n_features, "truth must have one entry per feature");
  std::vector<pc::AmpProblem> problems;
  for (std::size_t p = 0; p < laws.size(); ++p)
    problems.push_back({laws[p], prior, role.data() + static_cast<Index>(p) * rows.n_rows,
                        truth ? truth->data() : nullptr});
  return run(progress, [&](Control& control) {
    return pc::amp(rows, problems, start, {max_iter, tol, damping}, n_threads, control);
  });
}

template <class Real>
pc::LeadingDirection leading_direction(const RowsView<Real>& X,
                                       const py::array_t<bool, py::array::c_style>& use,
                                       Index max_steps, double tol, const PhiloxKey& key,
                                       int n_threads) {
  const pc::Rows rows = rows_of(X);
  require(use.size() == rows.n_rows, "use must have one entry per row");
  return run(py::none(), [&](Control& control) {
    return pc::leading_direction(rows, reinterpret_cast<const std::uint8_t*>(use.data()), max_steps,
                                 tol, key, n_threads, control);
  });
}

template <class Real>
void bind_rows(py::module_& m) {
  m.def("amp", &amp<Real>, "X"_a.noconvert(), "role"_a.noconvert(), "laws"_a, "prior"_a,
        py::kw_only(), "start"_a.noconvert(), "max_iter"_a, "tol"_a, "damping"_a, "n_threads"_a,
        "truth"_a = py::none(), "progress"_a = py::none());
  m.def("leading_direction", &leading_direction<Real>, "X"_a.noconvert(), "use"_a.noconvert(),
        py::kw_only(), "max_steps"_a, "tol"_a, "key"_a, "n_threads"_a);
}

struct SampledRows {
  py::array X;
  Bytes side;
};

template <class Real>
SampledRows sample_rows(const pc::RowLaw& law, const ConstVectorView& w_true, Index n_labelled,
                        Index n_rows, const PhiloxKey& key, std::uint64_t replica, int n_threads) {
  RowsView<Real> X({n_rows, w_true.size()});
  Bytes side(n_rows);
  Real* to = X.mutable_data();
  std::int8_t* y = side.mutable_data();
  run(py::none(), [&](Control& control) {
    pc::sample_rows(law, w_true, n_labelled, n_rows, key, replica, to, y, n_threads, control);
    return true;
  });
  return {std::move(X), std::move(side)};
}

void bind_inference(py::module_& m) {
  py::native_enum<pc::Role>(m, "Role", "enum.IntEnum", "What a row is to a problem.")
      .value("negative", pc::Role::negative)
      .value("unlabelled", pc::Role::unlabelled)
      .value("positive", pc::Role::positive)
      .finalize();
  py::class_<pc::AmpRuns>(m, "AmpRuns", "What message passing ends with, problem by problem.")
      .def_readonly("weights", &pc::AmpRuns::weights)
      .def_readonly("field_mean", &pc::AmpRuns::field_mean)
      .def_readonly("variance", &pc::AmpRuns::variance)
      .def_readonly("free_entropy", &pc::AmpRuns::free_entropy)
      .def_readonly("residual", &pc::AmpRuns::residual)
      .def_readonly("damping", &pc::AmpRuns::damping)
      .def_readonly("n_iter", &pc::AmpRuns::n_iter)
      .def_readonly("cosine", &pc::AmpRuns::cosine)
      .def_property_readonly("status", [](const pc::AmpRuns& runs) {
        std::vector<std::string> names;
        for (const Status s : runs.status) names.emplace_back(name_of(s));
        return names;
      });
  py::class_<pc::LeadingDirection>(m, "LeadingDirection", "Leading eigenvector of X'X / n_used.")
      .def_readonly("direction", &pc::LeadingDirection::direction)
      .def_readonly("eigenvalue", &pc::LeadingDirection::eigenvalue)
      .def_readonly("residual", &pc::LeadingDirection::residual);
  bind_rows<double>(m);
  bind_rows<float>(m);
  py::class_<SampledRows>(m, "SampledRows", "Rows, and +-1 for the side that each shows.")
      .def_readonly("X", &SampledRows::X)
      .def_readonly("side", &SampledRows::side);
  m.def(
      "sample_rows",
      [](const pc::RowLaw& law, ConstVectorView w_true, Index n_labelled, Index n_rows,
         const PhiloxKey& key, std::uint64_t replica, bool single, int n_threads) {
        return single
                   ? sample_rows<float>(law, w_true, n_labelled, n_rows, key, replica, n_threads)
                   : sample_rows<double>(law, w_true, n_labelled, n_rows, key, replica, n_threads);
      },
      "law"_a, "w_true"_a.noconvert(), py::kw_only(), "n_labelled"_a, "n_rows"_a, "key"_a,
      "replica"_a, "single"_a, "n_threads"_a);
}

/// As pc::Evidence, in arrays that Python owns.
struct EvidenceArrays {
  py::array_t<double> value, first, second;
};

void bind_scalar_channel(py::module_& m) {
  py::class_<EvidenceArrays>(m, "Evidence", "Mean likelihood of fields and its derivatives.")
      .def_readonly("value", &EvidenceArrays::value)
      .def_readonly("first", &EvidenceArrays::first)
      .def_readonly("second", &EvidenceArrays::second);
  m.attr("series_terms") = pc::series_terms;
  m.def(
      "channel_evidence",
      [](ConstVectorView edges, ConstRowMatrixView density, ConstVectorView mean,
         ConstVectorView variance, bool is_paired, int n_threads) {
        const auto pairing = is_paired ? pc::Pairing::rows : pc::Pairing::all;
        pc::Evidence e = run(py::none(), [&](Control& control) {
          return pc::channel_evidence(edges, density, mean, variance, pairing, n_threads, control);
        });
        return EvidenceArrays{py::cast(std::move(e.value)), py::cast(std::move(e.first)),
                              py::cast(std::move(e.second))};
      },
      "edges"_a.noconvert(), "density"_a.noconvert(), "mean"_a.noconvert(),
      "variance"_a.noconvert(), py::kw_only(), "is_paired"_a, "n_threads"_a);
}

void bind_label_averages(py::module_& module) {
  py::class_<pc::FieldLaw>(module, "FieldLaw", "P(label | field) of finitely many labels.")
      .def(py::init([](Index n_labels, ConstRowMatrixView slabs, double sigma) {
             std::vector<pc::FieldLaw::Slab> all;
             for (Index i = 0; i < slabs.rows(); ++i)
               all.push_back(
                   {static_cast<Index>(slabs(i, 0)), slabs(i, 1), slabs(i, 2), slabs(i, 3)});
             return pc::FieldLaw(n_labels, std::move(all), sigma);
           }),
           "n_labels"_a, "slabs"_a.noconvert(), "sigma"_a)
      .def(py::init([](ConstVectorView edges, ConstRowMatrixView density, ConstVectorView walls) {
             return pc::FieldLaw(edges, density, walls);
           }),
           "edges"_a.noconvert(), "density"_a.noconvert(), "walls"_a.noconvert());
  py::class_<pc::FieldScores>(module, "FieldScores", "P(label) and derivatives of its logarithm.")
      .def_readonly("value", &pc::FieldScores::value)
      .def_readonly("g", &pc::FieldScores::g)
      .def_readonly("dg", &pc::FieldScores::dg);
  module.def("field_scores", &pc::field_scores, "law"_a, "mean"_a.noconvert(),
             "variance"_a.noconvert(), ReleaseGil());
  py::native_enum<pc::Loss>(module, "Loss", "enum.Enum", "What a student minimises.")
      .value("logistic", pc::Loss::logistic)
      .value("hinge", pc::Loss::hinge)
      .value("square", pc::Loss::square)
      .value("huber", pc::Loss::huber)
      .finalize();
  py::class_<pc::LabelAverages>(module, "LabelAverages", "Averages over new rows.")
      .def_readonly("bend", &pc::LabelAverages::bend)
      .def_readonly("square", &pc::LabelAverages::square)
      .def_readonly("cross", &pc::LabelAverages::cross)
      .def_readonly("squared_bend", &pc::LabelAverages::squared_bend)
      .def_readonly("error", &pc::LabelAverages::error)
      .def_readonly("relative_error", &pc::LabelAverages::relative_error);
  module.def(
      "loss_averages",
      [](const pc::FieldLaw& teacher, ConstVectorView labels, pc::Loss loss, double V, double q,
         double m, double rho, double tol, double error_tol) {
        py::gil_scoped_release nogil;
        return pc::label_averages(teacher, labels, loss, {V, q, m, rho}, {tol, error_tol});
      },
      "teacher"_a, "labels"_a.noconvert(), "loss"_a, py::kw_only(), "V"_a, "q"_a, "m"_a, "rho"_a,
      "tol"_a, "error_tol"_a);
  module.def(
      "posterior_averages",
      [](const pc::FieldLaw& teacher, const pc::FieldLaw& student, double V, double q, double m,
         double rho, double tol, double error_tol) {
        py::gil_scoped_release nogil;
        return pc::label_averages(teacher, student, {V, q, m, rho}, {tol, error_tol});
      },
      "teacher"_a, "student"_a, py::kw_only(), "V"_a, "q"_a, "m"_a, "rho"_a, "tol"_a,
      "error_tol"_a);
  module.def("logistic_pull", &pc::logistic_pull, "u"_a.noconvert(), "V"_a, ReleaseGil());
}

}  // namespace

void bind_perceptron(py::module_& parent) {
  auto m = parent.def_submodule("perceptron");
  bind_channel(m);
  bind_perceptron_theory(m);
  bind_inference(m);
  bind_scalar_channel(m);
  bind_label_averages(m);
  m.def("error_margin", &pc::error_margin, "cosine"_a.noconvert(), "sine"_a.noconvert(), "kappa"_a,
        ReleaseGil());
  m.def("odds_transform", &pc::odds_transform, "law"_a, "q"_a, "V"_a, "width"_a, "t"_a.noconvert(),
        ReleaseGil());
}

}  // namespace retemper::bindings

#include "arrays.hpp"
#include "modules.hpp"
#include "retemper/core/parallel.hpp"
#include "retemper/perceptron/channel.hpp"
#include "retemper/perceptron/infer.hpp"
#include "retemper/perceptron/simulate.hpp"
#include "retemper/perceptron/theory.hpp"

namespace retemper::bindings {

namespace {

namespace pc = perceptron;

/// Rows (q, V, b, free entropy, stability, residual, F_l, quadrature error) of the fixed points.
RowMatrix root_rows(const std::vector<pc::BayesRoot>& roots, double alpha_u, double alpha_l) {
  RowMatrix out(static_cast<Index>(roots.size()), 8);
  Index i = 0;
  for (const pc::BayesRoot& r : roots)
    out.row(i++) << r.at.prior.q, r.at.prior.V, r.at.b, r.free_entropy, r.stability, r.residual,
        r.at.labelled.overlap,
        r.at.prior.dq * (alpha_u * r.at.unlabelled.error + alpha_l * r.at.labelled.error);
  return out;
}

/// The fixed points at every pair of loads, on one tabulated curve.
std::vector<RowMatrix> fixed_points(const pc::RowLaw& law, pc::Prior prior,
                                    const ConstVectorView& alpha_u, const ConstVectorView& alpha_l,
                                    int n_threads, const py::object& progress) {
  PythonControl control(progress);
  py::gil_scoped_release nogil;
  require(alpha_u.size() == alpha_l.size(), "alpha_u and alpha_l differ in length");
  const pc::BayesCurve curve(law, prior, (alpha_l.array() > 0.0).any(), n_threads, control);
  std::vector<RowMatrix> out(static_cast<std::size_t>(alpha_u.size()));
  control.set_total(alpha_u.size());
  parallel_for(alpha_u.size(), threads_for(alpha_u.size(), 4, n_threads), control, [&](Index i) {
    out[static_cast<std::size_t>(i)] =
        root_rows(curve.fixed_points(alpha_u[i], alpha_l[i]), alpha_u[i], alpha_l[i]);
  });
  return out;
}

py::dict transitions(const pc::RowLaw& law, double alpha_l, int n_threads) {
  PythonControl control{py::none()};
  const pc::Transitions t = [&] {
    py::gil_scoped_release nogil;
    return pc::BayesCurve(law, pc::Prior::sphere, alpha_l > 0.0, n_threads, control)
        .transitions(alpha_l);
  }();
  return py::dict("alpha_c"_a = t.critical, "alpha_sp_minus"_a = t.spinodal_low,
                  "q_sp_minus"_a = t.q_spinodal_low, "alpha_it"_a = t.equal,
                  "q_it_low"_a = t.q_equal_low, "q_it_high"_a = t.q_equal_high,
                  "alpha_alg"_a = t.spinodal_high, "q_alg"_a = t.q_spinodal_high,
                  "first_order"_a = t.first_order);
}

py::dict critical_line(const pc::RowLaw& law, int n_threads) {
  PythonControl control{py::none()};
  const pc::CriticalPoint c = [&] {
    py::gil_scoped_release nogil;
    return pc::BayesCurve(law, pc::Prior::sphere, true, n_threads, control).critical_point();
  }();
  return py::dict("status"_a = static_cast<int>(c.status), "alpha_l"_a = c.alpha_l,
                  "alpha_u"_a = c.alpha_u, "q"_a = c.q);
}

/// Rows (b, q, V, dq/db, prior entropy, F_u, R_u, S_u, F_l, R_l, S_l) along ln b.
RowMatrix curve_rows(const pc::RowLaw& law, pc::Prior prior, const ConstVectorView& log_b,
                     int n_threads) {
  PythonControl control{py::none()};
  py::gil_scoped_release nogil;
  const pc::Curve curve(law, prior);
  RowMatrix out(log_b.size(), 11);
  parallel_for(log_b.size(), threads_for(log_b.size(), 32, n_threads), control, [&](Index i) {
    const pc::CurvePoint p = curve.point(log_b[i]);
    out.row(i) << p.b, p.prior.q, p.prior.V, p.prior.dq, p.prior.entropy, p.unlabelled.overlap,
        p.unlabelled.slope, p.unlabelled.entropy, p.labelled.overlap, p.labelled.slope,
        p.labelled.entropy;
  });
  return out;
}

py::dict solve_mismatched(const pc::RowLaw& student, const pc::RowLaw& teacher, double alpha_u,
                          double alpha_l, double q, double m, Index max_iter, double tol,
                          const py::object& progress) {
  PythonControl control(progress);
  const pc::MismatchSolution s = [&] {
    py::gil_scoped_release nogil;
    return pc::solve_mismatched(student, teacher, alpha_u, alpha_l, q, m, {max_iter, tol, 0.5},
                                control);
  }();
  return py::dict("q"_a = s.q, "m"_a = s.m, "free_entropy"_a = s.free_entropy,
                  "replicon"_a = s.replicon, "residual"_a = s.residual, "error"_a = s.error,
                  "n_iter"_a = s.n_iter, "status"_a = static_cast<int>(s.status));
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

/// role: (n_problems, n_rows); weights: (n_problems, n_features).
template <class Real>
py::dict amp(const RowsView<Real>& X, const Bytes& role, const std::vector<pc::RowLaw>& laws,
             pc::Prior prior, ConstRowMatrixView start, Index max_iter, double tol, double damping,
             int n_threads, const py::object& progress) {
  PythonControl control(progress);
  const pc::Rows rows = rows_of(X);
  require(role.ndim() == 2 && role.shape(0) == static_cast<Index>(laws.size()) &&
              role.shape(1) == rows.n_rows,
          "role must have shape (n_problems, n_rows)");
  std::vector<pc::AmpProblem> problems;
  for (std::size_t p = 0; p < laws.size(); ++p)
    problems.push_back({laws[p], prior, role.data() + static_cast<Index>(p) * rows.n_rows});
  RowMatrix weights = start, omega;
  const std::vector<pc::AmpReport> reports = [&] {
    py::gil_scoped_release nogil;
    return pc::amp(rows, problems, weights, omega, {max_iter, tol, damping}, n_threads, control);
  }();
  std::vector<double> V, free_entropy, residual, last_damping;
  std::vector<Index> n_iter;
  std::vector<int> status;
  for (const pc::AmpReport& r : reports) {
    V.push_back(r.V);
    free_entropy.push_back(r.free_entropy);
    residual.push_back(r.residual);
    last_damping.push_back(r.damping);
    n_iter.push_back(r.n_iter);
    status.push_back(static_cast<int>(r.status));
  }
  return py::dict("weights"_a = std::move(weights), "omega"_a = std::move(omega), "V"_a = V,
                  "free_entropy"_a = free_entropy, "residual"_a = residual,
                  "damping"_a = last_damping, "n_iter"_a = n_iter, "status"_a = status);
}

template <class Real>
py::tuple leading_direction(const RowsView<Real>& X,
                            const py::array_t<bool, py::array::c_style>& use, Index max_steps,
                            double tol, const PhiloxKey& key, int n_threads) {
  PythonControl control{py::none()};
  const pc::Rows rows = rows_of(X);
  require(use.size() == rows.n_rows, "use must have one entry per row");
  pc::LeadingDirection d = [&] {
    py::gil_scoped_release nogil;
    return pc::leading_direction(rows, reinterpret_cast<const std::uint8_t*>(use.data()), max_steps,
                                 tol, key, n_threads, control);
  }();
  return py::make_tuple(std::move(d.direction), d.eigenvalue, d.residual);
}

template <class Real>
py::tuple sample_rows(const pc::RowLaw& law, ConstVectorView w_true, Index n_labelled, Index n_rows,
                      const PhiloxKey& key, std::uint64_t replica, int n_threads) {
  PythonControl control{py::none()};
  RowsView<Real> X({n_rows, w_true.size()});
  Bytes label(n_rows);
  Real* to = X.mutable_data();
  std::int8_t* y = label.mutable_data();
  {
    py::gil_scoped_release nogil;
    pc::sample_rows(law, w_true, n_labelled, n_rows, key, replica, to, y, n_threads, control);
  }
  return py::make_tuple(std::move(X), std::move(label));
}

template <class Real>
void bind_rows(py::module_& m, const char* sample_name) {
  m.def("amp", &amp<Real>, "X"_a.noconvert(), "role"_a.noconvert(), "laws"_a, "prior"_a,
        "weights"_a.noconvert(), "max_iter"_a, "tol"_a, "damping"_a, "n_threads"_a,
        "progress"_a = py::none());
  m.def("leading_direction", &leading_direction<Real>, "X"_a.noconvert(), "use"_a.noconvert(),
        "max_steps"_a, "tol"_a, "key"_a, "n_threads"_a);
  m.def(sample_name, &sample_rows<Real>, "law"_a, "w_true"_a.noconvert(), "n_labelled"_a,
        "n_rows"_a, "key"_a, "replica"_a, "n_threads"_a);
}

}  // namespace

void bind_perceptron(py::module_& parent) {
  auto m = parent.def_submodule("perceptron");
  py::enum_<pc::RowKind>(m, "RowKind")
      .value("unlabelled", pc::RowKind::unlabelled)
      .value("positive", pc::RowKind::positive)
      .value("negative", pc::RowKind::negative);
  py::class_<pc::RowLaw>(m, "RowLaw")
      .def(py::init([](bool is_cluster, double kappa, double sigma, double eta_u, double eta_l,
                       double mu, double offset, bool is_centred) {
             const pc::RowLaw law{is_cluster ? pc::Law::cluster : pc::Law::margin,
                                  kappa,
                                  sigma,
                                  eta_u,
                                  eta_l,
                                  mu,
                                  offset,
                                  is_centred};
             law.validate();
             return law;
           }),
           py::kw_only(), "is_cluster"_a, "kappa"_a, "sigma"_a, "eta_u"_a, "eta_l"_a, "mu"_a,
           "offset"_a, "is_centred"_a);
  m.def(
      "channel_score",
      [](const pc::RowLaw& law, pc::RowKind kind, ConstVectorView omega, ConstVectorView V,
         int n_threads) {
        pc::Scores s = [&] {
          py::gil_scoped_release nogil;
          return pc::channel_score(law, kind, omega, V, n_threads);
        }();
        return std::make_tuple(std::move(s.log_w), std::move(s.g), std::move(s.dg));
      },
      "law"_a, "kind"_a, "omega"_a.noconvert(), "V"_a.noconvert(), "n_threads"_a);
  py::enum_<pc::Prior>(m, "Prior")
      .value("sphere", pc::Prior::sphere)
      .value("binary", pc::Prior::binary);
  m.def("fixed_points", &fixed_points, "law"_a, "prior"_a, "alpha_u"_a.noconvert(),
        "alpha_l"_a.noconvert(), "n_threads"_a, "progress"_a = py::none());
  m.def("transitions", &transitions, "law"_a, "alpha_l"_a, "n_threads"_a);
  m.def("critical_line", &critical_line, "law"_a, "n_threads"_a);
  m.def(
      "labels_to_leave",
      [](const pc::RowLaw& law, double alpha_u, int n_threads) {
        PythonControl control{py::none()};
        py::gil_scoped_release nogil;
        return pc::BayesCurve(law, pc::Prior::sphere, true, n_threads, control)
            .labels_to_leave(alpha_u);
      },
      "law"_a, "alpha_u"_a, "n_threads"_a);
  m.def("curve", &curve_rows, "law"_a, "prior"_a, "log_b"_a.noconvert(), "n_threads"_a);
  m.def("solve_mismatched", &solve_mismatched, "student"_a, "teacher"_a, "alpha_u"_a, "alpha_l"_a,
        "q"_a, "m"_a, "max_iter"_a, "tol"_a, "progress"_a = py::none());
  m.def(
      "state_evolution",
      [](const pc::RowLaw& student, const pc::RowLaw& teacher, pc::Prior prior, double alpha_u,
         double alpha_l, double q, double overlap, Index n_iter) {
        PythonControl control{py::none()};
        py::gil_scoped_release nogil;
        return pc::state_evolution(student, teacher, prior, alpha_u, alpha_l, q, overlap, n_iter,
                                   control);
      },
      "student"_a, "teacher"_a, "prior"_a, "alpha_u"_a, "alpha_l"_a, "q"_a, "m"_a, "n_iter"_a);
  bind_rows<double>(m, "sample_rows");
  bind_rows<float>(m, "sample_rows_single");
  m.def("error_margin", &pc::error_margin, "cosine"_a, "sine"_a, "kappa"_a);
  m.def("odds_transform", &pc::odds_transform, "law"_a, "q"_a, "V"_a, "width"_a, "t"_a.noconvert(),
        ReleaseGil());
}

}  // namespace retemper::bindings

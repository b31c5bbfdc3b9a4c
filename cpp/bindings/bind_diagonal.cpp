#include "arrays.hpp"
#include "modules.hpp"
#include "retemper/diagonal/flow.hpp"
#include "retemper/diagonal/infer.hpp"
#include "retemper/diagonal/margins.hpp"
#include "retemper/diagonal/mean_field.hpp"
#include "retemper/diagonal/mirror.hpp"
#include "retemper/diagonal/simulate.hpp"
#include "retemper/diagonal/theory.hpp"

namespace retemper::bindings {

namespace {

namespace dg = diagonal;

void bind_diagonal_theory(py::module_& m) {
  py::class_<dg::Law>(m, "Law", "Mixture law of one coordinate: (K,) each.")
      .def(py::init([](Vector weight, Vector mean, Vector var, Vector scale, Vector centre,
                       Vector source, double depth) {
             dg::Law out{std::move(weight), std::move(mean),   std::move(var), std::move(scale),
                         std::move(centre), std::move(source), depth};
             out.validate();
             return out;
           }),
           py::kw_only(), "weight"_a.noconvert(), "mean"_a.noconvert(), "var"_a.noconvert(),
           "scale"_a.noconvert(), "centre"_a.noconvert(), "source"_a.noconvert(), "depth"_a);
  py::class_<dg::Channel>(m, "Channel", "Samples per feature, noise and penalty.")
      .def(py::init([](double alpha, double noise_var, double mu) {
             return dg::Channel{alpha, noise_var, mu};
           }),
           py::kw_only(), "alpha"_a, "noise_var"_a, "mu"_a);
  py::class_<dg::FixedPoint>(m, "FixedPoint", "Solution of one problem; mse_of, drift_of: (K,).")
      .def_readonly("mse", &dg::FixedPoint::mse)
      .def_readonly("tau", &dg::FixedPoint::tau)
      .def_readonly("effective_mu", &dg::FixedPoint::effective_mu)
      .def_readonly("dof", &dg::FixedPoint::dof)
      .def_readonly("residual", &dg::FixedPoint::residual)
      .def_readonly("quadrature_error", &dg::FixedPoint::quadrature_error)
      .def_readonly("mse_of", &dg::FixedPoint::mse_of)
      .def_readonly("drift_of", &dg::FixedPoint::drift_of)
      .def_readonly("n_iter", &dg::FixedPoint::n_iter)
      .def_property_readonly("status", [](const dg::FixedPoint& f) { return name_of(f.status); });
  m.def(
      "solve_fixed_points",
      [](const std::vector<dg::Law>& laws, const std::vector<dg::Channel>& channels, int n_threads,
         const py::object& progress) {
        return run(progress, [&](Control& control) {
          return dg::solve_fixed_points(laws, channels, n_threads, control);
        });
      },
      py::kw_only(), "laws"_a, "channels"_a, "n_threads"_a, "progress"_a);
  py::class_<dg::MarginMoments>(m, "MarginMoments", "Averages of the channel of margins.")
      .def_readonly("square", &dg::MarginMoments::square)
      .def_readonly("overlap", &dg::MarginMoments::overlap)
      .def_readonly("dof", &dg::MarginMoments::dof);
  m.def("margin_averages", &dg::margin_averages, py::kw_only(), "law"_a, "signal"_a, "tau"_a,
        "effective_mu"_a);
}

py::dict fit(const ConstRowMatrixView& X, const ConstVectorView& y, const ConstVectorView& scale,
             const ConstVectorView& centre, double mu, const ConstVectorView& coef_start,
             bool use_factor, bool leave_one_out, const ConstRowMatrixView& lift,
             double mean_leverage, Index max_iter, double tol, int n_threads,
             const py::object& progress) {
  const dg::FitOptions options{{max_iter, tol, 0.0}, use_factor, leave_one_out, lift,
                               mean_leverage,        n_threads};
  dg::Fit f = run(progress, [&](Control& control) {
    return dg::fit({X, y, scale, centre, mu}, coef_start, options, control);
  });
  return py::dict("coef"_a = std::move(f.coef), "dual"_a = std::move(f.dual),
                  "loo_residual"_a = std::move(f.loo_residual), "residual"_a = f.residual,
                  "duality_gap"_a = f.duality_gap, "n_iter"_a = f.n_iter, "n_factor"_a = f.n_factor,
                  "status"_a = name_of(f.status));
}

Vector deep_coordinates(const ConstVectorView& coef, const ConstVectorView& scale, double depth) {
  require(coef.size() == scale.size() && depth > 2.0, "one scale a coefficient, depth above 2");
  Vector out(coef.size());
  for (Index d = 0; d < coef.size(); ++d)
    out[d] = dg::deep_prox(dg::DeepMirror::of(scale[d], depth), coef[d], 0.0, 0.0);
  return out;
}

py::dict deep_map(const ConstVectorView& mirror, const ConstVectorView& scale, double depth) {
  require(mirror.size() == scale.size() && depth > 2.0, "one scale a coordinate, depth above 2");
  const Index n = mirror.size();
  Vector coef(n), slope(n), force(n), stiffness(n);
  for (Index d = 0; d < n; ++d) {
    const dg::DeepMirror map = dg::DeepMirror::of(scale[d], depth);
    const dg::DeepPoint at = dg::deep_point(map, mirror[d]);
    coef[d] = at.coef;
    slope[d] = at.slope;
    force[d] = map.force(mirror[d]);
    stiffness[d] = map.stiffness * at.sech2;
  }
  return py::dict("coef"_a = std::move(coef), "slope"_a = std::move(slope),
                  "force"_a = std::move(force), "stiffness"_a = std::move(stiffness));
}

py::dict deep_fit(const ConstRowMatrixView& X, const ConstVectorView& y,
                  const ConstVectorView& scale, const ConstVectorView& centre, double mu,
                  double depth, const ConstVectorView& coef_start, bool leave_one_out,
                  const ConstRowMatrixView& lift, Index max_iter, double tol, int n_threads,
                  const py::object& progress) {
  const dg::FitOptions options{{max_iter, tol, 0.0}, true, leave_one_out, lift, 0.0, n_threads};
  dg::Fit f = run(progress, [&](Control& control) {
    return dg::deep_fit({X, y, scale, centre, mu}, depth, coef_start, options, control);
  });
  return py::dict("coef"_a = std::move(f.coef), "dual"_a = std::move(f.dual),
                  "loo_residual"_a = std::move(f.loo_residual), "residual"_a = f.residual,
                  "duality_gap"_a = f.duality_gap, "n_iter"_a = f.n_iter, "n_factor"_a = f.n_factor,
                  "status"_a = name_of(f.status));
}

py::dict flow(const ConstRowMatrixView& X, const ConstVectorView& y, const ConstVectorView& scale,
              const ConstVectorView& centre, double depth, const ConstVectorView& times,
              double rtol, double atol, Index max_steps, int n_threads,
              const py::object& progress) {
  dg::FlowPath path = run(progress, [&](Control& control) {
    return dg::flow({X, y, scale, centre, 0.0}, depth, times, {rtol, atol, max_steps}, n_threads,
                    control);
  });
  return py::dict("dual"_a = std::move(path.dual.y), "coef"_a = std::move(path.coef),
                  "time"_a = path.dual.t, "n_steps"_a = path.dual.n_steps,
                  "status"_a = name_of(path.dual.status));
}

py::dict mean_field_flow(Vector weight, Vector target, Vector scale, Vector centre, Vector source,
                         Eigen::VectorXi group, Index n_groups, Matrix normals, double depth,
                         double alpha, double noise_var, double end_time, double tol,
                         Index most_steps, int n_threads, const py::object& progress) {
  const dg::Coordinates at{
      std::move(weight), std::move(target), std::move(scale),   std::move(centre),
      std::move(source), std::move(group),  std::move(normals), depth,
      n_groups};
  dg::MeanField f = run(progress, [&](Control& control) {
    return dg::mean_field_flow(at, {alpha, noise_var, end_time, tol, most_steps, n_threads},
                               control);
  });
  return py::dict("times"_a = std::move(f.times), "train"_a = std::move(f.train),
                  "train_slope"_a = std::move(f.train_slope), "mse"_a = std::move(f.mse),
                  "mse_slope"_a = std::move(f.mse_slope), "drift"_a = std::move(f.drift),
                  "drift_slope"_a = std::move(f.drift_slope), "coef"_a = std::move(f.coef),
                  "n_iter"_a = f.n_iter, "residual"_a = f.residual, "lost"_a = f.lost,
                  "status"_a = name_of(f.status));
}

py::dict descend(const ConstRowMatrixView& X, const ConstVectorView& y,
                 const ConstVectorView& w_plus, const ConstVectorView& v_plus,
                 const ConstVectorView& w_minus, const ConstVectorView& v_minus, double rate_w,
                 double rate_v, Index n_steps, Index batch_size, double label_noise, Index stride,
                 const PhiloxKey& key, const py::object& progress) {
  dg::Weights weights{w_plus, v_plus, w_minus, v_minus};
  Vector loss = run(progress, [&](Control& control) {
    return dg::descend(X, y, {rate_w, rate_v, n_steps, batch_size, label_noise}, stride,
                       Stream(key, 0), Stream(key, 1), weights, control);
  });
  return py::dict("w_plus"_a = std::move(weights.w_plus), "v_plus"_a = std::move(weights.v_plus),
                  "w_minus"_a = std::move(weights.w_minus),
                  "v_minus"_a = std::move(weights.v_minus), "loss"_a = std::move(loss));
}

}  // namespace

void bind_diagonal(py::module_& parent) {
  auto m = parent.def_submodule("diagonal", "Diagonal linear networks.");
  bind_diagonal_theory(m);
  m.def("fit", &fit, py::kw_only(), "X"_a.noconvert(), "y"_a.noconvert(), "scale"_a.noconvert(),
        "centre"_a.noconvert(), "mu"_a, "coef_start"_a.noconvert(), "use_factor"_a,
        "leave_one_out"_a, "lift"_a.noconvert(), "mean_leverage"_a, "max_iter"_a, "tol"_a,
        "n_threads"_a, "progress"_a);
  m.def("flow", &flow, py::kw_only(), "X"_a.noconvert(), "y"_a.noconvert(), "scale"_a.noconvert(),
        "centre"_a.noconvert(), "depth"_a, "times"_a.noconvert(), "rtol"_a, "atol"_a, "max_steps"_a,
        "n_threads"_a, "progress"_a);
  m.def("mean_field_flow", &mean_field_flow, py::kw_only(), "weight"_a.noconvert(),
        "target"_a.noconvert(), "scale"_a.noconvert(), "centre"_a.noconvert(),
        "source"_a.noconvert(), "group"_a.noconvert(), "n_groups"_a, "normals"_a.noconvert(),
        "depth"_a, "alpha"_a, "noise_var"_a, "end_time"_a, "tol"_a, "most_steps"_a, "n_threads"_a,
        "progress"_a);
  m.def("descend", &descend, py::kw_only(), "X"_a.noconvert(), "y"_a.noconvert(),
        "w_plus"_a.noconvert(), "v_plus"_a.noconvert(), "w_minus"_a.noconvert(),
        "v_minus"_a.noconvert(), "rate_w"_a, "rate_v"_a, "n_steps"_a, "batch_size"_a,
        "label_noise"_a, "stride"_a, "key"_a, "progress"_a);
  m.def(
      "mirror_prox",
      [](double z, double c, double effective_mu, double u0, double depth) {
        if (depth == 2.0) return dg::mirror_prox(z, c, effective_mu, u0);
        return dg::deep_prox(dg::DeepMirror::of(c, depth), z, effective_mu, u0);
      },
      py::kw_only(), "z"_a, "c"_a, "effective_mu"_a, "u0"_a, "depth"_a);
  m.def("deep_coordinates", &deep_coordinates, py::kw_only(), "coef"_a.noconvert(),
        "scale"_a.noconvert(), "depth"_a);
  m.def("deep_map", &deep_map, py::kw_only(), "mirror"_a.noconvert(), "scale"_a.noconvert(),
        "depth"_a);
  m.def("deep_fit", &deep_fit, py::kw_only(), "X"_a.noconvert(), "y"_a.noconvert(),
        "scale"_a.noconvert(), "centre"_a.noconvert(), "mu"_a, "depth"_a,
        "coef_start"_a.noconvert(), "leave_one_out"_a, "lift"_a.noconvert(), "max_iter"_a, "tol"_a,
        "n_threads"_a, "progress"_a);
}

}  // namespace retemper::bindings

#include "arrays.hpp"
#include "modules.hpp"
#include "retemper/core/parallel.hpp"
#include "retemper/diagonal/flow.hpp"
#include "retemper/diagonal/infer.hpp"
#include "retemper/diagonal/mirror.hpp"
#include "retemper/diagonal/simulate.hpp"
#include "retemper/diagonal/theory.hpp"

namespace retemper::bindings {

namespace {

using namespace diagonal;

/// P problems with K components each: every matrix is (P, K); the columns of `channel` are alpha,
/// sigma2 and mu. Blocks of `block` neighbours share their starting points, so that the result
/// does not depend on the number of threads.
py::dict solve_laws(const ConstRowMatrixView& channel, const ConstRowMatrixView& weight,
                    const ConstRowMatrixView& mean, const ConstRowMatrixView& var,
                    const ConstRowMatrixView& scale, const ConstRowMatrixView& centre,
                    const ConstRowMatrixView& source, Index block, int n_threads,
                    const py::object& progress) {
  const Index n = weight.rows(), k = weight.cols();
  for (const auto* a : {&mean, &var, &scale, &centre, &source})
    require(a->rows() == n && a->cols() == k, "the laws differ in shape");
  require(channel.rows() == n && channel.cols() == 3, "channel must be (P, 3)");
  require(block >= 1, "block must be positive");
  RowMatrix numbers(n, 6), mse_of(n, k), drift_of(n, k);
  std::vector<int> status(static_cast<std::size_t>(n));
  std::vector<Index> n_iter(static_cast<std::size_t>(n));
  PythonControl control(progress);
  {
    py::gil_scoped_release nogil;
    const Index n_blocks = (n + block - 1) / block;
    control.set_total(n_blocks);
    parallel_for(n_blocks, threads_for(n, 4, n_threads), control, [&](Index b) {
      Start start;
      for (Index i = b * block, end = std::min(n, i + block); i < end; ++i) {
        const Law law{weight.row(i).transpose(), mean.row(i).transpose(),
                      var.row(i).transpose(),    scale.row(i).transpose(),
                      centre.row(i).transpose(), source.row(i).transpose()};
        const FixedPoint f =
            solve_fixed_point(law, {channel(i, 0), channel(i, 1), channel(i, 2)}, start, control);
        numbers.row(i) << f.mse, f.tau, f.theta, f.dof, f.residual, f.quadrature_error;
        mse_of.row(i) = f.mse_of.transpose();
        drift_of.row(i) = f.drift_of.transpose();
        status[static_cast<std::size_t>(i)] = static_cast<int>(f.status);
        n_iter[static_cast<std::size_t>(i)] = f.n_iter;
        start = f.status == Status::converged ? Start{f.tau, f.theta} : Start{};
      }
    });
  }
  py::dict out;
  const char* names[] = {"mse", "tau", "theta", "dof", "residual", "quadrature_error"};
  for (Index j = 0; j < 6; ++j) out[names[j]] = Vector(numbers.col(j));
  out["mse_of"] = std::move(mse_of);
  out["drift_of"] = std::move(drift_of);
  out["status"] = std::move(status);
  out["n_iter"] = std::move(n_iter);
  return out;
}

py::dict fit_scales(const ConstRowMatrixView& X, const ConstVectorView& y,
                    const ConstVectorView& scale, const ConstVectorView& centre, double mu,
                    const ConstVectorView& coef_start, bool use_factor, bool leave_one_out,
                    const ConstRowMatrixView& lift, double mean_leverage, Index max_iter,
                    double tol, int n_threads, const py::object& progress) {
  PythonControl control(progress);
  Fit f;
  {
    py::gil_scoped_release nogil;
    f = fit({X, y, scale, centre, mu}, coef_start,
            {{max_iter, tol, 0.0}, use_factor, leave_one_out, lift, mean_leverage, n_threads},
            control);
  }
  py::dict out;
  out["coef"] = std::move(f.coef);
  out["mirror"] = std::move(f.mirror);
  out["dual"] = std::move(f.dual);
  out["loo"] = std::move(f.loo);
  out["residual"] = f.residual;
  out["gap"] = f.gap;
  out["n_iter"] = f.n_iter;
  out["n_factor"] = f.n_factor;
  out["n_product"] = f.n_product;
  out["status"] = static_cast<int>(f.status);
  return out;
}

py::dict flow_path(const ConstRowMatrixView& X, const ConstVectorView& y,
                   const ConstVectorView& scale, const ConstVectorView& centre,
                   const ConstVectorView& times, double rtol, double atol, Index max_steps,
                   int n_threads, const py::object& progress) {
  PythonControl control(progress);
  numerics::Trajectory path;
  {
    py::gil_scoped_release nogil;
    path = flow({X, y, scale, centre, 0.0}, times, {rtol, atol, max_steps}, n_threads, control);
  }
  py::dict out;
  out["dual"] = std::move(path.y);
  out["t"] = path.t;
  out["n_steps"] = path.n_steps;
  out["n_rejected"] = path.n_rejected;
  out["status"] = static_cast<int>(path.status);
  return out;
}

py::tuple descend_weights(const ConstRowMatrixView& X, const ConstVectorView& y,
                          const ConstVectorView& w_plus, const ConstVectorView& v_plus,
                          const ConstVectorView& w_minus, const ConstVectorView& v_minus,
                          double rate_w, double rate_v, Index n_steps, Index batch, Index stride,
                          const PhiloxKey& key, const py::object& progress) {
  PythonControl control(progress);
  Weights weights{w_plus, v_plus, w_minus, v_minus};
  Vector loss;
  {
    py::gil_scoped_release nogil;
    loss =
        descend(X, y, {rate_w, rate_v, n_steps, batch}, stride, Stream(key, 0), weights, control);
  }
  return py::make_tuple(std::move(weights.w_plus), std::move(weights.v_plus),
                        std::move(weights.w_minus), std::move(weights.v_minus), std::move(loss));
}

Vector prox(ConstVectorView z, ConstVectorView c, double theta, ConstVectorView u0) {
  Vector u(z.size());
  for (Index i = 0; i < z.size(); ++i) u[i] = mirror_prox(z[i], c[i], theta, u0[i]);
  return u;
}

}  // namespace

void bind_diagonal(py::module_& parent) {
  auto m = parent.def_submodule("diagonal");
  m.def("solve_laws", &solve_laws, "channel"_a.noconvert(), "weight"_a.noconvert(),
        "mean"_a.noconvert(), "var"_a.noconvert(), "scale"_a.noconvert(), "centre"_a.noconvert(),
        "source"_a.noconvert(), "block"_a, "n_threads"_a, "progress"_a = py::none());
  m.def("fit", &fit_scales, "X"_a.noconvert(), "y"_a.noconvert(), "scale"_a.noconvert(),
        "centre"_a.noconvert(), "mu"_a, "coef_start"_a.noconvert(), "use_factor"_a,
        "leave_one_out"_a, "lift"_a.noconvert(), "mean_leverage"_a, "max_iter"_a, "tol"_a,
        "n_threads"_a, "progress"_a = py::none());
  m.def(
      "weighted_gram",
      [](const ConstRowMatrixView& X, const ConstVectorView& weight, int n_threads) {
        PythonControl control{py::none()};
        Matrix out;
        py::gil_scoped_release nogil;
        weighted_gram(X, weight, out, n_threads, control);
        return out;
      },
      "X"_a.noconvert(), "weight"_a.noconvert(), "n_threads"_a);
  m.def("flow", &flow_path, "X"_a.noconvert(), "y"_a.noconvert(), "scale"_a.noconvert(),
        "centre"_a.noconvert(), "times"_a.noconvert(), "rtol"_a, "atol"_a, "max_steps"_a,
        "n_threads"_a, "progress"_a = py::none());
  m.def("descend", &descend_weights, "X"_a.noconvert(), "y"_a.noconvert(), "w_plus"_a.noconvert(),
        "v_plus"_a.noconvert(), "w_minus"_a.noconvert(), "v_minus"_a.noconvert(), "rate_w"_a,
        "rate_v"_a, "n_steps"_a, "batch"_a, "stride"_a, "key"_a, "progress"_a = py::none());
  m.def("mirror_prox", &prox, "z"_a.noconvert(), "c"_a.noconvert(), "theta"_a, "u0"_a.noconvert(),
        ReleaseGil());
}

}  // namespace retemper::bindings

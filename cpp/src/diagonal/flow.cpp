#include "retemper/diagonal/flow.hpp"

#include <algorithm>
#include <limits>
#include <vector>

#include "retemper/diagonal/mirror.hpp"
#include "retemper/numerics/linalg.hpp"

namespace retemper::diagonal {

namespace {

// The loss never rises along the flow. A prediction whose residual is this many times that of the
// start overshot the moment at which a coefficient emerges: its weights would swamp the Jacobian,
// and a step of Newton's iteration there lowers the residual by a factor e only.
constexpr double too_far = 1e3;

}  // namespace

FlowPath flow(const Problem& problem, double depth, const ConstVectorView& times,
              const numerics::OdeLimits& limits, int n_threads, Control& control) {
  const Index n = problem.X.rows(), features = problem.X.cols();
  require(problem.y.size() == n, "y must have one entry per row of X");
  require(problem.scale.size() == features && problem.centre.size() == features,
          "scale and centre must have one entry per column of X");
  require(depth >= 2.0, "depth must be at least 2");
  std::vector<DeepMirror> maps;  // none for two layers
  if (depth > 2.0) {
    maps.reserve(static_cast<std::size_t>(features));
    for (Index d = 0; d < features; ++d) maps.push_back(DeepMirror::of(problem.scale[d], depth));
  }
  // Near the largest force of a deep network 1 - tanh is lost in the sum of forces: coordinates are
  // those of the last accepted step and what has come since.
  Vector from = problem.centre;
  // beta and weight from X' s, which stands in u
  const auto map = [&](Index j, Index w, VectorView u, VectorView beta, VectorView weight) {
    if (maps.empty()) {
      u = from.segment(j, w) + 2.0 * u;
      mirror_map(problem.scale.segment(j, w), u, beta, weight);
      return;
    }
    for (Index k = 0; k < w; ++k) {
      const DeepMirror& m = maps[static_cast<std::size_t>(j + k)];
      const DeepPoint at = deep_point(m, deep_coordinate(m, from[j + k], u[k]));
      beta[k] = at.coef;
      weight[k] = at.slope / (m.stiffness * at.sech2);
    }
  };
  Vector u(features), beta(features), weight(features);
  Matrix gram, shifted;
  numerics::Cholesky chol;
  bool is_factored = false;
  const Index width = panel_width(n);
  // beta and weight at s, and the residual y - X beta, in one pass over X
  const auto evaluate = [&](const Vector& s, Vector& residual) {
    residual = problem.y;
    for (Index j = 0; j < features; j += width) {
      const Index w = std::min(width, features - j);
      const auto panel = problem.X.middleCols(j, w);
      u.segment(j, w).noalias() = panel.transpose() * s;
      map(j, w, u.segment(j, w), beta.segment(j, w), weight.segment(j, w));
      residual.noalias() -= panel * beta.segment(j, w);
    }
  };
  Vector residual(n);
  evaluate(Vector::Zero(n), residual);
  const double most = too_far * std::max(problem.y.norm(), residual.norm());
  numerics::StiffSystem system;
  system.rhs = [&](const Vector& s, Vector& ds) {
    evaluate(s, ds);
    if (!(ds.norm() <= most)) ds.setConstant(std::numeric_limits<double>::quiet_NaN());
  };
  system.factor = [&](const Vector& s, double shift, bool is_new) {
    if (is_new) {
      evaluate(s, residual);
      weighted_gram(problem.X, weight, gram, n_threads, control);
    }
    shifted = gram;
    shifted.diagonal().array() += shift;
    is_factored = chol.compute(shifted);
  };
  system.solve = [&](Vector& b) {
    if (is_factored) {
      chol.solve_in_place(b);
    } else {  // the step is then refused
      b.setConstant(std::numeric_limits<double>::quiet_NaN());
    }
  };
  FlowPath out;
  out.coef.resize(times.size(), features);
  system.output = [&](Index place, const Vector& s) {
    evaluate(s, residual);
    out.coef.row(place) = beta.transpose();
  };
  if (!maps.empty()) {
    system.move_origin = [&](const Vector& s) {
      u.noalias() = problem.X.transpose() * s;
      for (Index d = 0; d < features; ++d)
        from[d] = deep_coordinate(maps[static_cast<std::size_t>(d)], from[d], u[d]);
    };
  }
  out.dual = numerics::integrate_bdf(system, 0.0, Vector::Zero(n), times, limits, control);
  out.coef.conservativeResize(out.dual.y.rows(), features);
  return out;
}

}  // namespace retemper::diagonal

#include "retemper/diagonal/flow.hpp"

#include <algorithm>
#include <limits>

#include "retemper/diagonal/mirror.hpp"
#include "retemper/numerics/linalg.hpp"

namespace retemper::diagonal {

namespace {

// The loss never rises along the flow. A prediction whose residual is this many times that of the
// start overshot the moment at which a coefficient emerges: its weights would swamp the Jacobian,
// and a step of Newton's iteration there lowers the residual by a factor e only.
constexpr double too_far = 1e3;

}  // namespace

numerics::Trajectory flow(const Problem& problem, const ConstVectorView& times,
                          const numerics::OdeLimits& limits, int n_threads, Control& control) {
  const Index n = problem.X.rows(), features = problem.X.cols();
  require(problem.y.size() == n, "y must have one entry per row of X");
  require(problem.scale.size() == features && problem.centre.size() == features,
          "scale and centre must have one entry per column of X");
  Vector u(features), beta(features), weight(features);
  Matrix gram, shifted;
  numerics::Cholesky chol;
  bool is_factored = false;
  const Index width = panel_width(n);
  // u, beta and weight at s, and the residual y - X beta, in one pass over X
  const auto evaluate = [&](const Vector& s, Vector& residual) {
    residual = problem.y;
    for (Index j = 0; j < features; j += width) {
      const Index w = std::min(width, features - j);
      const auto panel = problem.X.middleCols(j, w);
      u.segment(j, w) = problem.centre.segment(j, w);
      u.segment(j, w).noalias() += 2.0 * (panel.transpose() * s);
      mirror_map(problem.scale.segment(j, w), u.segment(j, w), beta.segment(j, w),
                 weight.segment(j, w));
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
  return numerics::integrate_bdf(system, 0.0, Vector::Zero(n), times, limits, control);
}

}  // namespace retemper::diagonal

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
  const auto map = [&](const Vector& s) {
    u.noalias() = problem.centre + 2.0 * (problem.X.transpose() * s);
    mirror_map(problem.scale, u, beta, weight);
  };
  map(Vector::Zero(n));
  const double most = too_far * std::max(problem.y.norm(), (problem.y - problem.X * beta).norm());
  numerics::StiffSystem system;
  system.rhs = [&](const Vector& s, Vector& ds) {
    map(s);
    ds.noalias() = problem.y - problem.X * beta;
    if (!(ds.norm() <= most)) ds.setConstant(std::numeric_limits<double>::quiet_NaN());
  };
  system.factor = [&](const Vector& s, double shift, bool is_new) {
    if (is_new) {
      map(s);
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

#include "retemper/phases/deep_linear.hpp"

#include <cmath>
#include <limits>
#include <sstream>

#include "retemper/core/error.hpp"
#include "retemper/numerics/vector_math.hpp"

namespace retemper::phases {

namespace {

namespace vm = numerics::vm;

constexpr double largest = 1e6;
constexpr Index look_steps = 64;  // steps between two looks at Ctrl-C

void check(const DeepLinearProblem& problem) {
  require(problem.spectrum.size() == problem.signal.size() && problem.depth >= 2 &&
              problem.init_scale > 0.0,
          "the sizes of the problem disagree");
}

/// out = w to this power.
void power(const double* w, Index n, Index exponent, double* out) {
  for (Index i = 0; i < n; ++i) out[i] = 1.0;
  for (; exponent > 0; --exponent) {
#pragma omp simd
    for (Index i = 0; i < n; ++i) out[i] *= w[i];
  }
}

}  // namespace

RowMatrix descend(const DeepLinearProblem& problem, double step_size,
                  const std::vector<Index>& steps, Control& control) {
  check(problem);
  const Index p = problem.spectrum.size();
  RowMatrix out(static_cast<Index>(steps.size()), p);
  Vector w = Vector::Constant(p, problem.init_scale), below(p);
  const double* lam = problem.spectrum.data();
  const double* m = problem.signal.data();
  const double kept = 1.0 - step_size * problem.weight_decay;
  Index done = 0;
  for (std::size_t i = 0; i < steps.size(); ++i) {
    require(steps[i] >= done, "steps must not decrease");
    for (; done < steps[i]; ++done) {
      if (done % look_steps == 0) control.check();
      power(w.data(), p, problem.depth - 1, below.data());
      double* at = w.data();
      const double* b = below.data();
      double n_lost = 0.0;
#pragma omp simd reduction(+ : n_lost)
      for (Index j = 0; j < p; ++j) {
        const double pull = m[j] > 0.0 ? b[j] * (m[j] - lam[j] * b[j] * at[j]) : 0.0;
        at[j] = kept * at[j] + step_size * pull;
        n_lost += at[j] > 0.0 && at[j] < largest ? 0.0 : 1.0;
      }
      if (n_lost > 0.0) {
        std::ostringstream what;
        what << "descent with step_size = " << step_size << " left the weights' range at step "
             << done << ": a weight changed its sign or diverged";
        throw NumericalError(what.str());
      }
    }
    out.row(static_cast<Index>(i)) = w.array().log();
  }
  return out;
}

numerics::Trajectory flow(const DeepLinearProblem& problem, const ConstVectorView& times,
                          const numerics::OdeLimits& limits, Control& control) {
  check(problem);
  const Index p = problem.spectrum.size(), depth = problem.depth;
  const double* lam = problem.spectrum.data();
  const double* m = problem.signal.data();
  const double kappa = problem.weight_decay;
  Vector w(p), below(p), slope(p), divisor(p);
  const auto weights = [&](const Vector& y) {  // and w^(depth - 2)
    double* to = w.data();
    const double* from = y.data();
#pragma omp simd
    for (Index j = 0; j < p; ++j) to[j] = vm::exp(from[j]);
    power(w.data(), p, depth - 2, below.data());
  };
  numerics::StiffSystem system;
  system.rhs = [&](const Vector& y, Vector& dy) {
    dy.resize(p);
    weights(y);
    const double* at = w.data();
    const double* b = below.data();
    double* to = dy.data();
#pragma omp simd
    for (Index j = 0; j < p; ++j)
      to[j] = (m[j] > 0.0 ? b[j] * (m[j] - lam[j] * b[j] * at[j] * at[j]) : 0.0) - kappa;
    if (!dy.allFinite()) dy.setConstant(std::numeric_limits<double>::quiet_NaN());
  };
  const double one = static_cast<double>(depth - 2), two = static_cast<double>(2 * depth - 2);
  system.factor = [&](const Vector& y, double shift, bool is_new) {
    if (is_new) {
      weights(y);
      const double* at = w.data();
      const double* b = below.data();
      double* to = slope.data();
#pragma omp simd
      for (Index j = 0; j < p; ++j)
        to[j] = m[j] > 0.0 ? b[j] * (one * m[j] - two * lam[j] * b[j] * at[j] * at[j]) : 0.0;
    }
    divisor = shift - slope.array();
    if (!(divisor.minCoeff() > 0.0))  // a step beyond the rate of growth is refused
      divisor.setConstant(std::numeric_limits<double>::quiet_NaN());
  };
  system.solve = [&](Vector& b) { b = b.cwiseQuotient(divisor); };
  return numerics::integrate_bdf(system, 0.0, Vector::Constant(p, std::log(problem.init_scale)),
                                 times, limits, control);
}

}  // namespace retemper::phases

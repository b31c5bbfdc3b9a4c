// Exact infinite-time solution on data: capped Newton iteration on the dual (theory page 04,
// sections 5.1, 5.2 and 5.5).
#pragma once

#include "retemper/core/control.hpp"
#include "retemper/core/status.hpp"
#include "retemper/core/types.hpp"

namespace retemper::diagonal {

/// Minimise sum_d D_q(beta_d, centre_d) over X beta = y, or, with mu > 0, mu times that plus
/// |y - X beta|^2 / 2.
struct Problem {
  ConstRowMatrixView X;    // (n, D)
  ConstVectorView y;       // (n,)
  ConstVectorView scale;   // (D,) positive fine-tuning scales c
  ConstVectorView centre;  // (D,) mirror coordinates u0 of the start
  double mu;

  /// Throws ArgumentError on unequal lengths, a scale that is not positive or a negative mu.
  void validate() const;
};

struct FitOptions {
  IterationLimits limits{200, 1e-12, 0.0};  ///< tol: residual relative to |y|
  bool use_factor = true;                   ///< else conjugate gradients: no n x n matrix
  bool leave_one_out = false;               ///< needs a factor
  /// (n, m) where the rows of X are combinations, with orthonormal or scaled weights, of m rows of
  /// data: residuals are then for those. Empty: the rows are the data.
  ConstMatrixView lift = Matrix(0, 0);
  double mean_leverage = 0.0;  ///< 1 / n where an intercept was fitted by centring (n > D, mu > 0)
  int n_threads = 1;
};

struct Fit {
  Vector coef;               ///< (D,)
  Vector mirror;             ///< (D,) u = centre + 2 X' dual
  Vector dual;               ///< (n,)
  Vector loo_residual;       ///< (n,) or (m,) leave-one-out, to first order; empty unless asked for
  double residual = 0.0;     ///< |y - X coef - mu dual| / |y|
  double duality_gap = 0.0;  ///< over the penalty
  Index n_iter = 0, n_factor = 0;  ///< steps, factorisations
  /// else max_iter, stalled, or no_solution: the rows of X are linearly dependent
  Status status = Status::converged;
};

/// coef_start: (D,) a solution of a neighbouring problem, or empty.
/// Throws ArgumentError on unequal lengths or a scale that is not positive.
Fit fit(const Problem& problem, ConstVectorView coef_start, const FitOptions& options,
        Control& control);

/// The same for a network of more than two layers, by Newton's iteration on the dual and, at the
/// end, on mirror coordinates and dual together, which keeps coefficients whose force is almost
/// the largest possible. Rows of X must be independent where mu = 0. Of the options, use_factor
/// must be true and mean_leverage 0.
Fit deep_fit(const Problem& problem, double depth, ConstVectorView coef_start,
             const FitOptions& options, Control& control);

/// Columns per panel, so that a panel of n rows stays in the second-level cache.
Index panel_width(Index n);

/// out = X diag(weight) X', lower triangle, (n, n). Bitwise independent of n_threads.
void weighted_gram(const ConstRowMatrixView& X, const ConstVectorView& weight, Matrix& out,
                   int n_threads, Control& control);

}  // namespace retemper::diagonal

// Exact asymptotic risk of fine-tuning with linear teachers: effective ridge, bias sums, the
// top-k/tail bound and the source scale of a deep linear network (theory page 03, section 4).
#pragma once

#include <cstdint>

#include "retemper/core/control.hpp"
#include "retemper/core/status.hpp"
#include "retemper/core/types.hpp"

namespace retemper::linear {

using IndexVector = Eigen::Matrix<Index, Eigen::Dynamic, 1>;
using StatusVector = Eigen::Matrix<int, Eigen::Dynamic, 1>;

/// Eigenvalues at or below this fraction of the largest count as zero.
inline constexpr double rank_cut = 1e-14;

/// Root kappa of kappa (1 - df1(kappa) / n) = ridge at k points, n samples each, with
/// df_p = sum_i (s_i / (s_i + kappa))^p.
struct EffectiveRidge {
  Vector effective_ridge;  ///< (k,) largest root; infinite at n = 0
  Vector df1;              ///< (k,)
  Vector df2;              ///< (k,)
  Vector residual;         ///< (k,) |kappa (1 - df1 / n) - ridge| / (|kappa| + |ridge|)
  IndexVector n_iter;      ///< (k,) passes over the spectrum
  StatusVector status;     ///< (k,) Status as an integer
};

/// spectrum (d,) non-negative in any order, n_samples (k,) >= 0, ridge (k,). A negative ridge is
/// legal down to the point where df2 = n. The left side minus the right is convex in kappa with a
/// negative third derivative, so steps to the root of its quadratic expansion, taken from a start
/// above the root, decrease to it and never pass it; they converge cubically.
/// Throws ArgumentError on a spectrum whose largest entry is not 0 or in [1e-120, 1e120], unequal
/// lengths, a negative n_samples, or a ridge below its limit.
EffectiveRidge effective_ridge(const ConstVectorView& spectrum, const ConstVectorView& n_samples,
                               const ConstVectorView& ridge, int n_threads, Control& control);

/// Diagonal metrics, functions of an eigenvalue s >= 0 and kappa in [0, inf] (or negative, above
/// minus the smallest positive eigenvalue).
enum class Metric : std::uint8_t {
  bias = 0,  ///< s kappa^2 / (s + kappa)^2: cost of a difference (4.2)
  fitted,    ///< s / (s + kappa): mean of the row-space projector at ridge 0
  rest,      ///< kappa / (s + kappa): mean of its complement
};

/// out(j, a) = sum_i weights(a, i) metric(spectrum_i, effective_ridge_j), of shape (k, m).
/// spectrum (d,), weights (m, d), effective_ridge (k,). Entries of the spectrum that stand for zero
/// must be zero. Throws ArgumentError on unequal lengths.
RowMatrix metric_sums(const ConstVectorView& spectrum, const ConstRowMatrixView& weights,
                      const ConstVectorView& effective_ridge, Metric metric, int n_threads,
                      Control& control);

/// Mean risk after some steps of one-pass stochastic gradient descent on Gaussian rows.
struct DescentRisk {
  RowMatrix weights;  ///< (k, d) the risk per squared start along every eigendirection
  Vector variance;    ///< (k,) the risk per variance of the label noise
};

/// spectrum (d,), steps (k,) ascending. Per step, with e = step_size^2 / batch_size, the second
/// moments m of w - teacher become (1 - step_size s)^2 m + e (s^2 m + s (s.m + noise^2)), which is
/// a symmetric map A; after j steps the risk is (A^j s).m(0), and A^j s is what is carried on.
/// Throws ArgumentError on steps that are negative or descend, or a batch_size below 1.
DescentRisk descent_risk(const ConstVectorView& spectrum, const IndexVector& steps,
                         double step_size, double batch_size, Control& control);

/// Smallest top-k/tail bound (4.4) on sum_i delta2_i s_i kappa^2 / (s_i + kappa)^2.
struct TopKBound {
  Vector bound;         ///< (k,) infinite where kappa < 0
  IndexVector bound_k;  ///< (k,) leading eigenvalues in the best bound, -1 where kappa < 0
};

/// delta2 at point j is sum_a coef(j, a) weights(a, :). spectrum (d,) descending with exact
/// zeros, weights (m, d), coef (k, m), n_samples, ridge, effective_ridge (k,). Throws ArgumentError
/// on unequal lengths.
TopKBound top_k_bound(const ConstVectorView& spectrum, const ConstRowMatrixView& weights,
                      const ConstRowMatrixView& coef, const ConstVectorView& n_samples,
                      const ConstVectorView& ridge, const ConstVectorView& effective_ridge,
                      int n_threads, Control& control);

/// Source scale c > 0 of a deep linear network: c^(2L/(L-1)) (p2 + q2) = a2 + c^2 q2 (4.5).
struct DeepScale {
  Vector scale;        ///< (k,)
  IndexVector n_iter;  ///< (k,) Newton steps in log c
};

/// a2, p2, q2 (k,) non-negative, depth (k,) >= 1 and possibly infinite. Depth 1 gives 1, a zero
/// source (p2 = q2 = 0) gives 0. Throws ArgumentError on unequal lengths, values outside these
/// domains, or p2 = 0 < q2 at infinite depth (no finite limit).
DeepScale deep_scale(const ConstVectorView& a2, const ConstVectorView& p2,
                     const ConstVectorView& q2, const ConstVectorView& depth);

}  // namespace retemper::linear

// The finite-size experiment behind the theory of linear teachers: draw data, fit, measure.
#pragma once

#include <array>
#include <cstdint>

#include "retemper/core/control.hpp"
#include "retemper/core/random.hpp"
#include "retemper/core/types.hpp"

namespace retemper::linear {

/// Law of the independent entries of the whitened inputs; all have mean 0 and variance 1.
enum class Entries : int { gaussian = 0, rademacher, student };  // Student with 5 degrees

/// One regression task in the eigenbasis of its covariance.
struct Task {
  Index n;            ///< samples
  Vector spectrum;    ///< (d,) eigenvalues, non-negative
  RowMatrix teacher;  ///< (k, d)
  double noise;       ///< standard deviation of the label noise
  double ridge;
};

/// Where the source comes from: `coef` itself, or, where that is empty, the (ridge or minimum norm)
/// fit of a fresh sample of `task` in every repeat, turned by `rotation` (d, d) into the target's
/// basis (empty: the bases agree).
struct Source {
  RowMatrix coef;  ///< (k, d)
  Task task;
  RowMatrix rotation;
};

/// Columns of the table of simulate_linear; the k source scales follow. With e = fit - teacher for
/// the fit from zero, h = its change per unit of source and S the covariance: risk_scratch = e'Se,
/// cross = e'Sh, spread = h'Sh, so that the risk at source scale c is
/// risk_scratch + 2 c cross + c^2 spread. All risks are summed over outputs.
inline constexpr std::array<const char*, 10> simulation_columns{
    "risk", "bias",         "variance",       "kappa", "df1",
    "df2",  "risk_scratch", "risk_zero_shot", "cross", "spread"};

/// One row per repeat. Excess risks (w - teacher)' S (w - teacher) are exact given the fit. `bias`
/// is that of the fit without label noise from the source at the same scale, `variance` what the
/// noise alone adds: they sum to the risk on average. kappa, df1, df2 are those of the sample.
/// Ridge must be 0 above depth 1. Repeat r draws from replica r of the streams of `key` alone, so
/// threads change nothing. Throws ArgumentError on shapes, NumericalError on a failed fit.
RowMatrix simulate_linear(const Task& target, const Source& source, double depth, Entries entries,
                          const PhiloxKey& key, Index n_repeats, int n_threads, Control& control);

}  // namespace retemper::linear

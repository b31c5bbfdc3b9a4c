// The finite-size experiment behind the theory of linear teachers: draw data, fit, measure.
#pragma once

#include <cstdint>

#include "retemper/core/control.hpp"
#include "retemper/core/random.hpp"
#include "retemper/core/types.hpp"

namespace retemper::linear {

/// Law of the independent entries of the whitened inputs; all have mean 0 and variance 1.
/// Student with 5 degrees; given: those that the task holds.
enum class Entries : int { gaussian = 0, rademacher, student, given };

/// One regression task in the eigenbasis of its covariance.
struct Task {
  Index n_samples;
  Vector spectrum;    ///< (d,) eigenvalues, non-negative
  RowMatrix teacher;  ///< (k, d)
  double noise;       ///< standard deviation of the label noise
  double ridge;
  double stop_time;    ///< of gradient flow on |y - Xw|^2 / (2 n), without ridge; infinite: its end
  Vector row_scale{};  ///< (n,) factors of the rows, and of
  Vector row_noise{};  ///< (n,) their noise; empty: all are one
  double step_size = 0.0;  ///< of one pass of stochastic gradient descent instead; 0: none
  Index batch_size = 1;    ///< rows of one of its steps; those that fill no batch are left out
  Index n_steps = -1;      ///< steps whose rows are drawn with replacement; negative: one pass
  RowMatrix entries{};     ///< (n, d) whitened inputs, where they are given and not drawn
};

/// Where the source comes from: `coef` itself, or, where that is empty, the (ridge or minimum norm)
/// fit of a fresh sample of `task` in every repeat, turned by `rotation` (d, d) into the target's
/// basis (empty: the bases agree).
struct Source {
  RowMatrix coef;  ///< (k, d)
  Task task;
  RowMatrix rotation;
};

/// What every repeat measures, (n_repeats,) each. Excess risks (w - teacher)' S (w - teacher) are
/// exact given the fit and summed over outputs; S is the covariance. With e = fit - teacher for the
/// fit from zero and h = its change per unit of source: risk_scratch = e'Se, cross = e'Sh,
/// spread = h'Sh, so that the risk at source scale c is risk_scratch + 2 c cross + c^2 spread.
struct Simulation {
  Vector risk;
  Vector bias;      ///< risk of the fit without label noise from the source at the same scale
  Vector variance;  ///< what the noise alone adds: bias + variance = risk on average
  Vector effective_ridge, df1, df2;  ///< of the sample
  Vector risk_scratch, risk_zero_shot;
  Vector training_error;  ///< mean squared residual of the target's rows; 0 where they are fitted
  Vector cross, spread;
  RowMatrix source_scale;  ///< (n_repeats, k)
};

/// The source is multiplied with `source_scale` before training, and `source_scale` of the result
/// counts it in. Above depth 1 a ridge needs one output, a finite depth and a positive value.
/// Repeat r draws from replica r of the streams of `key` alone, so threads change nothing. Throws
/// ArgumentError on shapes, NumericalError on a failed fit.
Simulation simulate_linear(const Task& target, const Source& source, double depth,
                           double source_scale, Entries entries, const PhiloxKey& key,
                           Index n_repeats, int n_threads, Control& control);

}  // namespace retemper::linear

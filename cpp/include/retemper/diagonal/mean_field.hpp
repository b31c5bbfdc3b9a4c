// Gradient flow of many coordinates on random rows, at every time, in the high-dimensional limit.
#pragma once

#include "retemper/core/control.hpp"
#include "retemper/core/status.hpp"
#include "retemper/core/types.hpp"

namespace retemper::diagonal {

/// Points that stand for the law of one coordinate: (N,) each, and `normals` (N, R), standard
/// normal variates that make the noise of every point. A scale of zero freezes the coordinate.
struct Coordinates {
  Vector weight;  ///< sums to one
  Vector target, scale;
  Vector centre;  ///< mirror coordinate at time zero
  Vector source;
  Eigen::VectorXi group;  ///< errors are summed over each
  Matrix normals;
  double depth = 2.0;
  Index n_groups = 1;

  Index size() const { return weight.size(); }
  /// Throws ArgumentError on unequal lengths.
  void validate() const;
};

struct MeanFieldOptions {
  double alpha;      ///< rows per coordinate
  double noise_var;  ///< variance of the label noise
  double end_time;
  double tol;        ///< error of a step, relative to the coefficients
  Index most_steps;  ///< memory grows with the square
  int n_threads = 1;
};

/// Averages at the times of the steps, (T,) or (T, n_groups), and their derivatives in time.
struct MeanField {
  Vector times;
  Vector train, train_slope;     ///< mean squared residual of a row
  RowMatrix mse, mse_slope;      ///< sums of weight (beta - target)^2 over groups
  RowMatrix drift, drift_slope;  ///< the same of (beta - source)^2
  Vector coef;                   ///< (N,) coefficients at the last time
  Index n_iter = 0;              ///< rounds of the equations
  double residual = 0.0;         ///< largest change in the last round of a step
  double lost = 0.0;             ///< part of the noise for which there were no normals left
  Status status = Status::converged;
};

/// The equations of dynamical mean-field theory, solved forward in time by the implicit trapezoidal
/// rule with steps chosen by its error (derivations/diagonal, "Early stopping").
MeanField mean_field_flow(const Coordinates& at, const MeanFieldOptions& options, Control& control);

}  // namespace retemper::diagonal

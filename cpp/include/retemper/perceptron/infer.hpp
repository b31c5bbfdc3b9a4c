// Approximate message passing for the margin perceptron (theory 01, section 5).
#pragma once

#include <cstdint>
#include <vector>

#include "retemper/core/control.hpp"
#include "retemper/core/random.hpp"
#include "retemper/core/status.hpp"
#include "retemper/perceptron/averages.hpp"
#include "retemper/perceptron/channel.hpp"

namespace retemper::perceptron {

/// Rows in row-major storage, single or double; sums are always in double.
struct Rows {
  const double* wide = nullptr;
  const float* narrow = nullptr;  ///< used if wide is null
  Index n_rows = 0, n_features = 0;
};

/// What a row is to one problem.
enum Role : std::int8_t { negative = -1, unlabelled = 0, positive = 1 };

/// One of several problems that share the rows.
struct AmpProblem {
  RowLaw law;
  Prior prior = Prior::sphere;
  const std::int8_t* role = nullptr;  ///< (n_rows,) of Role
  const double* truth = nullptr;      ///< (n_features,): a direction to watch, or none
};

/// What the problems end with, one row or entry for each.
struct AmpRuns {
  RowMatrix weights;     ///< (n_problems, n_features): posterior means
  RowMatrix field_mean;  ///< (n_problems, n_rows): cavity means of the last iteration's fields,
                         ///< zero where a row is left out
  Vector variance;       ///< posterior variance of a weight
  Vector free_entropy;   ///< Bethe, per feature
  Vector residual;       ///< |w' - w| / |w'| of the last undamped step
  Vector damping;        ///< the last one
  std::vector<Index> n_iter;
  std::vector<Status> status;  ///< else max_iter, or stalled: oscillates at every damping
  std::vector<std::vector<double>> cosine;  ///< with the truth after every iteration
};

/// Runs all problems together, one pass over the rows per iteration; those that have converged
/// leave the batch. start: (n_problems, n_features), |w|^2 <= n_features. An iteration that grows
/// while its steps alternate is damped more and restarted from its best iterate. The result does
/// not depend on n_threads.
AmpRuns amp(const Rows& rows, const std::vector<AmpProblem>& problems,
            const ConstRowMatrixView& start, const IterationLimits& limits, int n_threads,
            Control& control);

struct LeadingDirection {
  Vector direction;         ///< (n_features,) of unit length
  double eigenvalue = 0.0;  ///< of X'X / n_used
  double residual = 0.0;    ///< |X'X v / n_used - eigenvalue v|
};

/// Leading eigenvector of X'X over the rows with use[i] != 0, by Lanczos with full
/// reorthogonalisation from a random start; stops when the residual is below tol * eigenvalue.
LeadingDirection leading_direction(const Rows& rows, const std::uint8_t* use, Index max_steps,
                                   double tol, const PhiloxKey& key, int n_threads,
                                   Control& control);

}  // namespace retemper::perceptron

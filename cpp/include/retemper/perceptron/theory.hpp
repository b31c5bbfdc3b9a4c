// Replica-symmetric theory of the margin perceptron (theory 01, section 4): fixed points,
// thresholds, mismatched students and state evolution.
#pragma once

#include <vector>

#include "retemper/core/control.hpp"
#include "retemper/core/status.hpp"
#include "retemper/perceptron/averages.hpp"

namespace retemper::perceptron {

/// One fixed point of the Bayes-optimal theory.
struct FixedPoint {
  double q = 0.0, V = 1.0;        ///< overlap and 1 - q
  double free_entropy = 0.0;      ///< per weight
  double stability = 0.0;         ///< slope of the iteration: below one where it ends here
  double label_equivalent = 0.0;  ///< labelled rows per weight that alone give this overlap
  double residual = 0.0;          ///< of the equation for q
  double error = 0.0;             ///< estimated absolute quadrature error of q
};

/// Every fixed point at each pair of loads, by rising q, q = 0 included where it is one.
std::vector<std::vector<FixedPoint>> fixed_points(const RowLaw& law, Prior prior,
                                                  const ConstVectorView& alpha_u,
                                                  const ConstVectorView& alpha_l, int n_threads,
                                                  Control& control);

/// Where the first-order line starts, crosses and ends along alpha_u, at fixed alpha_l.
struct Transitions {
  bool first_order = false;
  double alpha_c = 0.0;  ///< q = 0 loses stability (no labels); NaN if q = 0 is no fixed point
  double alpha_sp_minus = 0.0, q_sp_minus = 0.0;           ///< the high branch appears
  double alpha_it = 0.0, q_it_low = 0.0, q_it_high = 0.0;  ///< equal free entropy
  double alpha_alg = 0.0, q_alg = 0.0;                     ///< the low branch ends
};
Transitions transitions(const RowLaw& law, double alpha_l, int n_threads, Control& control);

/// Where the first-order line in the (alpha_l, alpha_u) plane ends.
struct CriticalPoint {
  Status status = Status::converged;  ///< or no_solution
  double alpha_l = 0.0, alpha_u = 0.0, q = 0.0;
};
CriticalPoint critical_line(const RowLaw& law, int n_threads, Control& control);

/// The number of labels per weight at which the low branch ends, at fixed alpha_u: labels beyond it
/// leave the hard phase. Zero if there is no such branch at alpha_l > 0.
double labels_to_leave(const RowLaw& law, double alpha_u, int n_threads, Control& control);

/// Overlap with another sample and with the truth.
struct Overlaps {
  double q = 0.0, m = 0.0;
};

struct MismatchSolution {
  Overlaps at;
  double free_entropy = 0.0, replicon = 0.0, residual = 0.0;
  double error = 0.0;  ///< estimated absolute quadrature error of the averages
  Index n_iter = 0;
  Status status = Status::converged;
};

/// Eq. 4 from a start, spherical weights. Status::invalid where q runs to one or the replicon
/// reaches one: the replica-symmetric theory does not hold there.
MismatchSolution solve_mismatched(const RowLaw& student, const RowLaw& teacher, double alpha_u,
                                  double alpha_l, const Overlaps& start,
                                  const IterationLimits& limits, Control& control);

/// Overlaps iteration by iteration, (n_iter + 1,) each, the start first.
struct OverlapPath {
  Vector q, m;
};
OverlapPath state_evolution(const RowLaw& student, const RowLaw& teacher, Prior prior,
                            double alpha_u, double alpha_l, const Overlaps& start, Index n_iter,
                            Control& control);

}  // namespace retemper::perceptron

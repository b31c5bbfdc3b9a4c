// Replica-symmetric theory of the margin perceptron (theory 01, section 4).
//
// Overlaps are parametrised by b, the precision that the data add to the prior: q = b / (1 + b) on
// the sphere. Every fixed point of the Bayes-optimal theory solves b = sum_r alpha_r F_r(q(b)).
#pragma once

#include <vector>

#include "retemper/core/control.hpp"
#include "retemper/core/status.hpp"
#include "retemper/perceptron/channel.hpp"

namespace retemper::perceptron {

enum class Prior { sphere, binary };

/// Gaussian averages of one kind of row. Student and teacher agree: overlap = m_overlap.
struct Moments {
  double overlap = 0.0;    ///< F = E W0 g^2, eq. 2
  double m_overlap = 0.0;  ///< E W0 g0 g
  double slope = 0.0;      ///< E W0 (dg)^2 = dF / dq where student and teacher agree, eq. 5
  double entropy = 0.0;    ///< E W0 ln W
  double error = 0.0;      ///< estimated absolute quadrature error of `overlap`
};

/// Quadrature over the fields of one kind of row, on panels refined at the walls (section 4.9).
class RowAverage {
 public:
  RowAverage(const RowLaw& student, const RowLaw& teacher, RowKind kind);
  /// Bayes-optimal: overlap q and V = 1 - q, given apart so that q -> 1 keeps its digits.
  Moments matched(double q, double V) const;
  /// Student overlap q, overlap m with the teacher, m^2 <= q.
  Moments mismatched(double q, double m) const;
  const Channel& channel() const { return student_; }

 private:
  Moments average(double q, double V, double a, double V0, bool is_matched) const;
  Channel student_, teacher_;
  bool is_even_;
  double cutoff_;
};

/// What the prior makes of the precision b.
struct PriorPoint {
  double q, V;     ///< overlap and 1 - q
  double dq;       ///< dq / db
  double entropy;  ///< its part of the free entropy, per weight
};
PriorPoint prior_point(Prior prior, double b);

/// One point of the curve b -> (q, F_u, F_l, ...), from which every Bayes-optimal result follows.
struct CurvePoint {
  double b = 0.0;
  PriorPoint prior{};
  Moments unlabelled, labelled;

  double free_entropy(double alpha_u, double alpha_l) const {
    return prior.entropy + alpha_u * unlabelled.entropy + alpha_l * labelled.entropy;
  }
  /// Slope of the iteration b -> sum alpha F(q(b)); below one where the fixed point is stable.
  double stability(double alpha_u, double alpha_l) const {
    return prior.dq * (alpha_u * unlabelled.slope + alpha_l * labelled.slope);
  }
};

struct BayesRoot {
  CurvePoint at;
  double free_entropy = 0.0, stability = 0.0, residual = 0.0;
};

/// Where the first-order line starts, crosses and ends along one axis, the other load fixed.
struct Transitions {
  bool first_order = false;
  double critical = 0.0;  ///< q = 0 loses stability (no labels); NaN if q = 0 is no fixed point
  double spinodal_low = 0.0, q_spinodal_low = 0.0;            ///< the high branch appears
  double equal = 0.0, q_equal_low = 0.0, q_equal_high = 0.0;  ///< equal free entropy
  double spinodal_high = 0.0, q_spinodal_high = 0.0;          ///< the low branch ends
};

struct CriticalPoint {
  Status status = Status::converged;  ///< or no_solution
  double alpha_l = 0.0, alpha_u = 0.0, q = 0.0;
};

/// The curve of one law of rows and a prior.
class Curve {
 public:
  Curve(const RowLaw& law, Prior prior);
  /// Moments of labelled rows are left at zero where they are not asked for.
  CurvePoint point(double log_b, bool with_labels = true) const;
  Moments labelled_moments(const PriorPoint& p) const;
  /// Its ends, where q is exactly zero or one.
  CurvePoint start() const;
  CurvePoint end() const;
  Prior prior() const { return prior_; }
  const Channel& unlabelled() const { return unlabelled_.channel(); }
  const Channel& labelled() const { return labelled_.channel(); }

 private:
  Prior prior_;
  RowAverage unlabelled_, labelled_;
};

/// A curve tabulated once; then any load at the cost of a few points.
class BayesCurve {
 public:
  /// Without labels it costs half as much, and serves alpha_l = 0 alone.
  BayesCurve(const RowLaw& law, Prior prior, bool with_labels, int n_threads, Control& control);

  /// Every fixed point, by rising q, q = 0 included where it is one.
  std::vector<BayesRoot> fixed_points(double alpha_u, double alpha_l) const;
  /// Along alpha_u at fixed alpha_l.
  Transitions transitions(double alpha_l) const;
  /// The number of labels per weight at which the low branch ends, at fixed alpha_u: labels beyond
  /// it leave the hard phase. Zero if there is no such branch at alpha_l > 0.
  double labels_to_leave(double alpha_u) const;
  /// Where the first-order line in the (alpha_l, alpha_u) plane ends.
  CriticalPoint critical_point() const;

 private:
  struct Extremum {
    CurvePoint at;
    double load = 0.0;
    bool is_maximum = false;
  };
  std::vector<Extremum> extrema(double fixed_load, bool along_labels) const;
  double load_at(const CurvePoint& p, double fixed_load, bool along_labels) const;
  CurvePoint on_branch(double load, double fixed_load, double low, double high) const;
  BayesRoot root(const CurvePoint& p, double alpha_u, double alpha_l) const;
  CurvePoint point(double log_b) const { return curve_.point(log_b, with_labels_); }

  Curve curve_;
  bool with_labels_;
  std::vector<CurvePoint> table_;
};

struct MismatchSolution {
  double q = 0.0, m = 0.0, free_entropy = 0.0, replicon = 0.0, residual = 0.0, error = 0.0;
  Index n_iter = 0;
  Status status = Status::converged;
};

/// Eq. 4 from (q, m), spherical weights. Status::invalid where q runs to one or the replicon
/// reaches one: the replica-symmetric theory does not hold there.
MismatchSolution solve_mismatched(const RowLaw& student, const RowLaw& teacher, double alpha_u,
                                  double alpha_l, double q, double m, const IterationLimits& limits,
                                  Control& control);

/// Iterates of state evolution: (n_iter + 1, 2) rows (q, m), the start first.
RowMatrix state_evolution(const RowLaw& student, const RowLaw& teacher, Prior prior, double alpha_u,
                          double alpha_l, double q, double m, Index n_iter, Control& control);

/// Probability that a row outside the gap falls on the wrong side of a direction at this cosine:
/// int_kappa^inf Dh H(R h / sqrt(1 - R^2)) / H(kappa); `sine` = sqrt(1 - R^2) is given apart.
double error_margin(double cosine, double sine, double kappa);

/// int Dz sqrt(W(sqrt(q) z) W(-sqrt(q) z)) cos(t s(z)), s the log-odds of one label: (n_t,).
/// On panels of at most `width` in z: phases t s must not turn more than once between nodes.
Vector odds_transform(const RowLaw& law, double q, double V, double width,
                      const ConstVectorView& t);

}  // namespace retemper::perceptron

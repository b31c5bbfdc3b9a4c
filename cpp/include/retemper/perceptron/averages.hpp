// Gaussian averages over the fields of rows, and the curve b -> (q, F_u, F_l, ...) of a law.
//
// Overlaps are parametrised by b, the precision that the data add to the prior: q = b / (1 + b) on
// the sphere. Every fixed point of the Bayes-optimal theory solves b = sum_r alpha_r F_r(q(b)).
#pragma once

#include <vector>

#include "retemper/core/control.hpp"
#include "retemper/numerics/panel_rule.hpp"
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

/// Gaussian panels on (low, high), at most `width` wide, refined where a field a z with posterior
/// variance V sees a wall of one of the channels, or the saddle between two (section 4.9).
class WallRule {
 public:
  WallRule(double low, double high) : low_(low), high_(high) {}
  WallRule& add(const Channel& channel, double a, double V);
  numerics::PanelRule rule(double width = 2.0) &&;

 private:
  double low_, high_;
  std::vector<double> breaks_;
};

/// Where the law of rows has no weight left: the integrals end there.
double field_cutoff(const RowLaw& law);

/// Quadrature over the fields of one kind of row.
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

/// One point of the curve, from which every Bayes-optimal result follows.
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

/// Moments of one kind of row along a curve, each (n,); as in Moments.
struct MomentTable {
  Vector overlap, slope, entropy;
};

/// Points of a curve, each member (n,); as in CurvePoint and PriorPoint.
struct CurveTable {
  Vector b, q, V, dq, prior_entropy;
  MomentTable unlabelled, labelled;
};
CurveTable curve_table(const RowLaw& law, Prior prior, const ConstVectorView& log_b, int n_threads,
                       Control& control);

}  // namespace retemper::perceptron

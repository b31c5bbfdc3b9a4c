// What a student learns from rows with finitely many labels: averages over a label and the
// student's field, on panels that are halved until they are resolved.
#pragma once

#include <optional>
#include <vector>

#include "retemper/core/types.hpp"
#include "retemper/perceptron/scalar_channel.hpp"

namespace retemper::perceptron {

/// P(label | field) of finitely many labels.
class FieldLaw {
 public:
  /// A label has the probability `weight` where low < field + sigma * normal < high.
  struct Slab {
    Index label;
    double weight, low, high;
  };

  /// Sums of slabs; a label without any is impossible.
  FieldLaw(Index n_labels, std::vector<Slab> slabs, double sigma);
  /// Series on panels, as of PanelDensity, with jumps or kinks at `walls`.
  FieldLaw(const ConstVectorView& edges, const ConstRowMatrixView& density,
           const ConstVectorView& walls);

  /// A slab whose ends are walls, or -1.
  struct Cut {
    Index label;
    double weight;
    Index low, high;
  };

  Index n_labels() const { return n_labels_; }
  const std::vector<Cut>& cuts() const { return cuts_; }
  const std::vector<double>& walls() const { return walls_; }  ///< increasing
  double noise() const { return sigma_ * sigma_; }             ///< variance of the walls

  /// Null for sums of slabs.
  const PanelDensity* panels() const { return panels_ ? &*panels_ : nullptr; }

 private:
  Index n_labels_;
  double sigma_ = 0.0;
  std::vector<double> walls_;
  std::vector<Cut> cuts_;
  std::optional<PanelDensity> panels_;
};

/// P(label), and the two derivatives of its logarithm in the mean: (n_labels, n) each.
struct FieldScores {
  RowMatrix value, g, dg;
};

/// Of fields N(mean, variance) by sixteens that share a variance: mean (16 n,), variance (n,).
/// Ratios are right where probabilities underflow, for sums of slabs.
FieldScores field_scores(const FieldLaw& law, const ConstVectorView& mean,
                         const ConstVectorView& variance);

enum class Loss { logistic, hinge, square, huber };

/// Minus the slope of log(1 + exp(-h)) at its proximal point: p = 1 / (1 + exp(u + V p)), each
/// (n,), within a few units in the last place.
Vector logistic_pull(const ConstVectorView& u, double V);

/// State of a student: its estimate of a field has the variance q and the covariance m with the
/// true field, which has the variance rho; V is what it believes to be unknown.
struct StudentState {
  double V, q, m, rho;
};

/// Averages over new rows: of minus the slope of the student's score, of its square, of its product
/// with the score of the truth, of the square of its slope, and of its loss: wrong labels, or
/// squared errors of the labels where a loss is not one of classes.
struct LabelAverages {
  double bend, square, cross, squared_bend, error;
  double relative_error;  ///< largest of the first three, as the last terms of panels bound it
};

struct AverageLimits {
  double tol = 1e-8;         ///< last terms of one panel, relative to the first three; errors are
                             ///< about their square
  double error_tol = 1e300;  ///< of one panel, in the last
};

/// A student that minimises a loss; labels: (n_labels,), those of `teacher`.
LabelAverages label_averages(const FieldLaw& teacher, const ConstVectorView& labels, Loss loss,
                             const StudentState& at, const AverageLimits& limits);

/// A student that takes posterior means under a law of its own, with the same labels.
LabelAverages label_averages(const FieldLaw& teacher, const FieldLaw& student,
                             const StudentState& at, const AverageLimits& limits);

}  // namespace retemper::perceptron

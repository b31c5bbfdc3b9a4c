// Logistic regression from given logits, for many splits of one sample and a path of ridges.
#pragma once

#include <memory>
#include <vector>

#include "retemper/core/control.hpp"
#include "retemper/core/status.hpp"
#include "retemper/core/types.hpp"

namespace retemper::linear {

/// One sample. Two classes have one logit, that of the second; k > 2 classes have k.
struct LabelledRows {
  RowMatrix rows;            ///< (n, r)
  std::vector<Index> label;  ///< (n,) in [0, n_classes)
  Index n_classes;
  Vector weight;  ///< (n,) in the sum of losses
  bool fit_intercept;

  Index n_logits() const { return n_classes == 2 ? 1 : n_classes; }
};

/// Rows to learn from, and rows whose logits are wanted.
struct LogisticSplit {
  std::vector<Index> train, held_out;
};

/// The splits of a sample, each with the coordinates in which it is fitted: prepared once, used
/// from any number of starting logits.
///
/// Where a split leaves out a good part of rows that are few beside the columns, they are turned to
/// the principal axes of the rows that are left, of which there are no more than rows.
class LogisticFolds {
 public:
  /// Throws ArgumentError on shapes, labels and rows out of range.
  LogisticFolds(LabelledRows sample, std::vector<LogisticSplit> splits, int n_threads,
                Control& control);

  struct Fold {
    std::vector<Index> order;  ///< rows of the sample in the order of `basis`
    std::vector<Index> held;   ///< places of the held-out rows in `order`
    Vector weight;             ///< (n_used,) of the first rows; zero where they do not train
    std::vector<Index> label;  ///< (n_used,)
    bool is_turned = false;    ///< else `basis` and `turn` are empty: the rows as they are
    Matrix basis;              ///< (order, p) coordinates of the rows, a column of ones last
    Matrix turn;               ///< (r, p) from the columns of the sample to those of `basis`
    Vector square;             ///< (p,) weighted mean squares of the columns of the basis
    Vector mean;               ///< (r,) subtracted from the rows
  };

  const LabelledRows& sample() const { return sample_; }  ///< without its rows
  const std::vector<Fold>& folds() const { return folds_; }
  const Matrix& basis(const Fold& fold) const { return fold.is_turned ? fold.basis : shared_; }
  Index n_held() const { return n_held_; }  ///< over all splits

 private:
  LabelledRows sample_;
  Matrix shared_;
  std::vector<Fold> folds_;
  Index n_held_ = 0;
};

/// What a stretch of ridges gave, R ridges and F splits.
struct LogisticStretch {
  RowMatrix logits;            ///< (R * held, m) of the held-out rows, split by split
  RowMatrix residual;          ///< (R, F) largest change of a logit in the last step
  std::vector<Status> status;  ///< (R * F,)
  Index n_iter = 0;            ///< Newton steps in all
};

/// A fit in the columns of the sample.
struct LogisticCoef {
  RowMatrix slopes;         ///< (m, r)
  Vector offset;            ///< (m,)
  double source_scale = 0;  ///< fitted factor
};

/// Fits of all splits along a descending path of ridges, each from the one before. Minimises
///
///   sum_i w_i loss_i(offset + c source + W x + b) + ridge/2 |W|^2 + scale_ridge/2 c^2,
///
/// by Newton steps whose directions come from conjugate gradients, preconditioned by the mean
/// curvature of the classes on the principal axes. The factor c is there only with a source.
class LogisticRun {
 public:
  /// offset (n, m); source (n, m) or (0, 0). Throws ArgumentError on shapes.
  LogisticRun(std::shared_ptr<const LogisticFolds> folds, const ConstRowMatrixView& offset,
              const ConstRowMatrixView& source, double scale_ridge);

  /// Starts all splits at a fit of the whole sample.
  void start_at(const LogisticCoef& fit);

  /// Goes on to these ridges, which may be infinite. Splits are shared out among the threads, whose
  /// number changes no bit.
  LogisticStretch advance(const ConstVectorView& ridges, const IterationLimits& limits,
                          int n_threads, Control& control);

  /// Where a split is now.
  LogisticCoef coef(Index fold) const;

 private:
  struct State {
    Matrix offset, source;  // (order, m)
    Matrix theta;           // (p, m)
    double factor = 0.0;
  };
  std::shared_ptr<const LogisticFolds> folds_;
  double scale_ridge_;
  std::vector<State> states_;
};

}  // namespace retemper::linear

#include "retemper/linear/logistic.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <utility>

#include "retemper/core/error.hpp"
#include "retemper/core/parallel.hpp"
#include "retemper/numerics/linalg.hpp"
#include "retemper/numerics/vector_math.hpp"

namespace retemper::linear {

namespace vm = numerics::vm;

namespace {

constexpr double unit_roundoff = std::numeric_limits<double>::epsilon();
/// Conjugate gradient steps before a Newton step is taken as it is.
constexpr int longest_solve = 60;
/// Where steps of order one still lead on from logits of this size, there is no minimum.
constexpr double runaway = 25.0;
/// A relative decrease of the loss by less than this cannot be seen.
constexpr double resolution = 1e-15;
/// Steps beyond this are no Newton steps: the curvature along them is rounding.
constexpr double longest_step = 1e100;
/// A split that leaves out less of the rows than this is fitted in the coordinates of them all.
constexpr double few_rows = 0.05;

/// Copies rows of a matrix in the order asked for.
template <class Source>
Matrix taken(const Source& from, const std::vector<Index>& order) {
  Matrix to(static_cast<Index>(order.size()), from.cols());
  for (Index i = 0; i < to.rows(); ++i) to.row(i) = from.row(order[static_cast<std::size_t>(i)]);
  return to;
}

/// Turns the rows, centred, to the principal axes of the first `n_train` of them.
void turn_fold(const LabelledRows& sample, const Matrix& shared, Index n_train,
               LogisticFolds::Fold& fold) {
  const Index r = fold.mean.size(), n = static_cast<Index>(fold.order.size());
  Matrix rows = taken(shared.leftCols(r), fold.order);
  if (sample.fit_intercept) {
    fold.mean = rows.topRows(n_train).transpose() * fold.weight / fold.weight.sum();
    rows.rowwise() -= fold.mean.transpose();
  }
  const double mass = fold.weight.sum();
  const Vector root = (fold.weight / mass).cwiseSqrt();
  const Matrix scaled = root.asDiagonal() * rows.topRows(n_train);
  const bool by_rows = n_train <= r;
  const Index side = std::min(n_train, r);
  Matrix gram = Matrix::Zero(side, side);
  numerics::add_gram(
      by_rows ? numerics::ConstView(scaled) : numerics::ConstView(scaled).transpose(), gram);
  const numerics::SymmetricEigen eigen = numerics::symmetric_eigen(gram);
  const double cut = static_cast<double>(std::max(n_train, r)) * unit_roundoff *
                     (side ? eigen.values[side - 1] : 0.0);
  const Index p = (eigen.values.array() > cut).count();
  fold.turn.resize(r, p);
  if (by_rows) {
    numerics::set_product(numerics::ConstView(scaled).transpose(), eigen.vectors.rightCols(p),
                          fold.turn);
    fold.turn.array().rowwise() /= eigen.values.tail(p).transpose().array().sqrt();
  } else {
    fold.turn = eigen.vectors.rightCols(p);
  }
  fold.basis.resize(n, p + (sample.fit_intercept ? 1 : 0));
  numerics::set_product(rows, fold.turn, fold.basis.leftCols(p));
  if (sample.fit_intercept) fold.basis.col(p).setOnes();
  fold.square.resize(fold.basis.cols());
  fold.square.head(p) = eigen.values.tail(p);
  if (sample.fit_intercept) fold.square[p] = 1.0;
}

void prepare(const LabelledRows& sample, const Matrix& shared, const LogisticSplit& split,
             LogisticFolds::Fold& fold) {
  const Index n = shared.rows(), r = shared.cols() - (sample.fit_intercept ? 1 : 0);
  const Index n_train = static_cast<Index>(split.train.size());
  fold.mean = Vector::Zero(r);
  fold.is_turned =
      2 * r > n_train && static_cast<double>(n - n_train) > few_rows * static_cast<double>(n);
  std::vector<Index> place(static_cast<std::size_t>(n), -1);
  if (fold.is_turned) {
    fold.order = split.train;
    Index next = 0;
    for (Index i : split.train) place[static_cast<std::size_t>(i)] = next++;
    for (Index i : split.held_out) {
      Index& at = place[static_cast<std::size_t>(i)];
      if (at >= 0) continue;
      at = static_cast<Index>(fold.order.size());
      fold.order.push_back(i);
    }
    fold.weight.resize(n_train);
    fold.label.resize(static_cast<std::size_t>(n_train));
    for (Index i = 0; i < n_train; ++i) {
      const Index from = split.train[static_cast<std::size_t>(i)];
      fold.weight[i] = sample.weight[from];
      fold.label[static_cast<std::size_t>(i)] = sample.label[static_cast<std::size_t>(from)];
    }
    turn_fold(sample, shared, n_train, fold);
  } else {
    fold.order.resize(static_cast<std::size_t>(n));
    std::iota(fold.order.begin(), fold.order.end(), Index{0});
    place = fold.order;
    fold.weight = Vector::Zero(n);
    for (Index i : split.train) fold.weight[i] = sample.weight[i];
    fold.label = sample.label;
    fold.square = shared.cwiseAbs2().transpose() * fold.weight / fold.weight.sum();
  }
  for (Index i : split.held_out) fold.held.push_back(place[static_cast<std::size_t>(i)]);
}

/// The loss of one split from given logits, at one ridge.
class Objective {
 public:
  Objective(const Matrix& basis, const LogisticFolds::Fold& fold, const Matrix& offset,
            const Matrix& source, bool fit_intercept, double ridge, double scale_ridge)
      : basis_(basis.topRows(fold.weight.size())),
        fold_(fold),
        offset_(offset),
        source_(source),
        n_(fold.weight.size()),
        m_(offset.cols()),
        p_(basis.cols()),
        n_slopes_(basis.cols() - (fit_intercept ? 1 : 0)),
        is_fixed_(std::isinf(ridge)),
        ridge_(is_fixed_ ? 0.0 : ridge),
        scale_ridge_(scale_ridge),
        has_source_(source.size() > 0) {}

  struct Point {
    Matrix theta;   // (p, m)
    double factor;  // on the source
  };

  /// Logits of parameters, without the offset.
  Matrix image(const Point& at) const {
    Matrix out(n_, m_);
    numerics::set_product(basis_, at.theta, out);
    if (has_source_) out += at.factor * source_.topRows(n_);
    return out;
  }
  Matrix logits(const Point& at) const { return offset_.topRows(n_) + image(at); }

  double value(const Point& at, const Matrix& logit) const {
    const double penalty =
        ridge_ * at.theta.topRows(n_slopes_).squaredNorm() + scale_ridge_ * at.factor * at.factor;
    return loss(logit) + 0.5 * penalty;
  }

  /// Probabilities at some logits, and what follows from them.
  void look(const Matrix& logit, double damping) {
    damping_ = damping;
    set_probabilities(logit);
    Matrix mean_curvature = Matrix::Zero(m_, m_);
    double along_source = 0.0, mass = fold_.weight.sum();
    if (m_ == 1) {
      double sum = 0.0;
      for (Index i = 0; i < n_; ++i) {
        const double bend = fold_.weight[i] * prob_(i, 0) * (1.0 - prob_(i, 0));
        sum += bend;
        if (has_source_) along_source += bend * source_(i, 0) * source_(i, 0);
      }
      mean_curvature(0, 0) = sum;
    } else {
      const Matrix heavy = fold_.weight.asDiagonal() * prob_;
      numerics::add_product(numerics::ConstView(heavy).transpose(), prob_, mean_curvature, -1.0);
      mean_curvature.diagonal() += heavy.colwise().sum().transpose();
      if (has_source_) {
        for (Index i = 0; i < n_; ++i) {
          const double mean = prob_.row(i).dot(source_.row(i));
          const double square = (prob_.row(i).array() * source_.row(i).array().square()).sum();
          along_source += fold_.weight[i] * (square - mean * mean);
        }
      }
    }
    const double extra = damping_ * bound() * mass;
    mean_curvature.diagonal().array() += extra;
    Vector level = mean_curvature.diagonal();
    if (m_ > 1) {
      numerics::SymmetricEigen eigen = numerics::symmetric_eigen(mean_curvature);
      level = std::move(eigen.values);
      axes_ = std::move(eigen.vectors);
    }
    const double top = std::max(level[m_ - 1], std::numeric_limits<double>::min());
    inverse_.resize(p_, m_);
    for (Index q = 0; q < m_; ++q) {
      const double bend = std::max(level[q], 0.0);
      for (Index j = 0; j < p_; ++j) {
        const double penalty = j < n_slopes_ ? ridge_ : 0.0;
        const double size = bend * fold_.square[j] + penalty;
        const bool moves = size > 1e-14 * top * fold_.square[j] && !(is_fixed_ && j < n_slopes_);
        inverse_(j, q) = moves && size > 0.0 ? 1.0 / size : 0.0;
      }
    }
    if (has_source_) {
      const double size = along_source + scale_ridge_;
      inverse_factor_ = size > 0.0 ? 1.0 / size : 0.0;
    }
  }

  Point gradient(const Point& at) const {
    Matrix pull = prob_;
    if (m_ == 1) {
      for (Index i = 0; i < n_; ++i)
        pull(i, 0) -= static_cast<double>(fold_.label[static_cast<std::size_t>(i)]);
    } else {
      for (Index i = 0; i < n_; ++i) pull(i, fold_.label[static_cast<std::size_t>(i)]) -= 1.0;
    }
    pull.array().colwise() *= fold_.weight.array();
    return transposed(pull, at);
  }

  /// Second derivatives times a direction, whose image in the logits is given.
  Point bent(const Point& along, const Matrix& image) const {
    Matrix bend = image.cwiseProduct(prob_);
    if (m_ == 1) {
      bend.array() *= 1.0 - prob_.array();
    } else {
      const Vector mean = bend.rowwise().sum();
      for (Index c = 0; c < m_; ++c) bend.col(c) -= prob_.col(c).cwiseProduct(mean);
    }
    if (damping_ > 0.0) bend += damping_ * bound() * image;
    bend.array().colwise() *= fold_.weight.array();
    return transposed(bend, along);
  }

  Point preconditioned(const Point& g) const {
    Point out{Matrix(p_, m_), g.factor * inverse_factor_};
    if (m_ == 1) {
      out.theta = g.theta.cwiseProduct(inverse_);
      return out;
    }
    Matrix turned(p_, m_);
    numerics::set_product(g.theta, axes_, turned);
    turned.array() *= inverse_.array();
    numerics::set_product(turned, numerics::ConstView(axes_).transpose(), out.theta);
    const Vector idle = out.theta.rowwise().mean();  // moves no probability: rounding alone
    out.theta.colwise() -= idle;
    return out;
  }

  Index n_slopes() const { return n_slopes_; }
  bool is_fixed() const { return is_fixed_; }

 private:
  double bound() const { return m_ == 1 ? 0.25 : 0.5; }

  /// The parameters that pull along `logit`, and the penalty at `at`.
  Point transposed(const Matrix& logit, const Point& at) const {
    Point out{Matrix(p_, m_), 0.0};
    numerics::set_product(numerics::ConstView(basis_).transpose(), logit, out.theta);
    out.theta.topRows(n_slopes_) += ridge_ * at.theta.topRows(n_slopes_);
    if (is_fixed_) out.theta.topRows(n_slopes_).setZero();
    if (has_source_)
      out.factor = source_.topRows(n_).cwiseProduct(logit).sum() + scale_ridge_ * at.factor;
    return out;
  }

  void set_probabilities(const Matrix& logit) {
    prob_.resize(n_, m_);
    if (m_ == 1) {
      const double* z = logit.data();
      double* p = prob_.data();
#pragma omp simd
      for (Index i = 0; i < n_; ++i) {
        const double tail = vm::exp(-std::fabs(z[i]));
        const double share = 1.0 / (1.0 + tail);
        p[i] = z[i] > 0.0 ? share : tail * share;
      }
      return;
    }
    const Vector top = logit.rowwise().maxCoeff();
    Vector sum = Vector::Zero(n_);
    for (Index c = 0; c < m_; ++c) {
      const double* z = logit.col(c).data();
      double* p = prob_.col(c).data();
#pragma omp simd
      for (Index i = 0; i < n_; ++i) {
        p[i] = vm::exp(z[i] - top[i]);
        sum[i] += p[i];
      }
    }
    prob_.array().colwise() /= sum.array();
  }

  double loss(const Matrix& logit) const {
    double total = 0.0;
    if (m_ == 1) {
      const double* z = logit.data();
      const Index* label = fold_.label.data();
      const double* weight = fold_.weight.data();
#pragma omp simd reduction(+ : total)
      for (Index i = 0; i < n_; ++i) {
        const double wrong = label[i] ? -z[i] : z[i];
        const double tail = vm::log(1.0 + vm::exp(-std::fabs(wrong)));
        total += weight[i] * (tail + (wrong > 0.0 ? wrong : 0.0));
      }
      return total;
    }
    const Vector top = logit.rowwise().maxCoeff();
    Vector sum = Vector::Zero(n_);
    for (Index c = 0; c < m_; ++c) {
      const double* z = logit.col(c).data();
#pragma omp simd
      for (Index i = 0; i < n_; ++i) sum[i] += vm::exp(z[i] - top[i]);
    }
    for (Index i = 0; i < n_; ++i) {
      const double own = logit(i, fold_.label[static_cast<std::size_t>(i)]) - top[i];
      total += fold_.weight[i] * (vm::log(sum[i]) - own);
    }
    return total;
  }

  Eigen::Block<const Matrix> basis_;
  const LogisticFolds::Fold& fold_;
  const Matrix &offset_, &source_;
  Index n_, m_, p_, n_slopes_;
  bool is_fixed_;
  double ridge_, scale_ridge_;
  bool has_source_;
  double damping_ = 0.0;
  Matrix prob_, axes_, inverse_;
  double inverse_factor_ = 0.0;
};

using Point = Objective::Point;

double dot(const Point& a, const Point& b) {
  return a.theta.cwiseProduct(b.theta).sum() + a.factor * b.factor;
}

void add(Point& a, double size, const Point& b) {
  a.theta += size * b.theta;
  a.factor += size * b.factor;
}

struct Step {
  Point point;
  Matrix image;  // in the logits
};

/// Newton direction by conjugate gradients.
Step direction(const Objective& loss, const Point& gradient, Index n, Index m) {
  Step step{{Matrix::Zero(gradient.theta.rows(), m), 0.0}, Matrix::Zero(n, m)};
  Point left{-gradient.theta, -gradient.factor};
  Point along = loss.preconditioned(left);
  double size = dot(left, along);
  const double goal = size * std::min(1e-2, size);
  for (int k = 0; k < longest_solve && size > 0.0; ++k) {
    const Matrix image = loss.image(along);
    const Point bent = loss.bent(along, image);
    const double bend = dot(along, bent);
    const double length =
        bend > 0.0 && std::isfinite(bend) ? size / bend : std::numeric_limits<double>::infinity();
    const double largest = along.theta.size() ? along.theta.cwiseAbs().maxCoeff() : 0.0;
    if (!(length * std::max(largest, std::fabs(along.factor)) < longest_step)) {
      if (k == 0) step = {along, image};  // saturated: no curvature
      break;
    }
    add(step.point, length, along);
    step.image += length * image;
    add(left, -length, bent);
    const Point pulled = loss.preconditioned(left);
    const double before = size;
    size = dot(left, pulled);
    if (!(size > goal)) break;
    along.theta = pulled.theta + (size / before) * along.theta;
    along.factor = pulled.factor + (size / before) * along.factor;
  }
  return step;
}

struct Fit {
  Index n_iter = 0;
  double residual = 0.0;
  Status status = Status::max_iter;
};

/// Minimises from where `at` is, which is moved.
Fit minimise(Objective& loss, Point& at, const Matrix& offset, Index n, double ridge,
             const IterationLimits& limits, Control& control) {
  Fit fit;
  const Index m = offset.cols();
  if (at.theta.size() == 0 && at.factor == 0.0 && offset.size() == 0) return fit;
  const double spread =
      m == 1 ? offset.cwiseAbs().maxCoeff()
             : (offset.rowwise().maxCoeff() - offset.rowwise().minCoeff()).maxCoeff();
  const double far = 1e3 * (1.0 + spread);
  Matrix logit = loss.logits(at);
  double damping = 0.0, value = loss.value(at, logit);
  for (Index k = 1; k <= limits.max_iter; ++k) {
    control.check();
    fit.n_iter = k;
    loss.look(logit, damping);
    const Point gradient = loss.gradient(at);
    const Step step = direction(loss, gradient, n, m);
    fit.residual = step.image.size() ? step.image.cwiseAbs().maxCoeff() : 0.0;
    const double slope = dot(gradient, step.point);
    const bool is_small = fit.residual <= limits.tol * (1.0 + logit.cwiseAbs().maxCoeff());
    const bool is_flat = std::fabs(slope) <= resolution * value;
    if ((is_small && damping == 0.0) || is_flat) {
      if (is_small) {
        add(at, 1.0, step.point);
        logit += step.image;
      }
      fit.status = Status::converged;
      return fit;
    }
    double size = 0.0;
    if (std::fabs(slope) <= 1e3 * resolution * value && fit.residual < 1.0) {
      size = 1.0;                     // the loss is too coarse to judge
    } else if (fit.residual < far) {  // else no curvature is left
      for (double trial = 1.0; trial >= 2e-4; trial *= 0.5) {
        Point there = at;
        add(there, trial, step.point);
        if (loss.value(there, logit + trial * step.image) <= value + 1e-4 * trial * slope) {
          size = trial;
          break;
        }
      }
    }
    if (size > 0.0) {
      add(at, size, step.point);
      logit += size * step.image;
      value = loss.value(at, logit);
      const double reach = (logit - offset.topRows(n)).cwiseAbs().maxCoeff();
      if (ridge == 0.0 && reach > runaway && fit.residual > 0.1 && loss.n_slopes() > 0) {
        fit.status = Status::no_solution;
        return fit;
      }
    }
    if (size < 0.1) {
      damping = std::max(10.0 * damping, 1e-4);
    } else if (size == 1.0) {
      damping = damping > 1e-7 ? 0.1 * damping : 0.0;
    }
    if (damping > 100.0) {
      fit.status = Status::stalled;
      return fit;
    }
  }
  return fit;
}

}  // namespace

LogisticFolds::LogisticFolds(LabelledRows sample, std::vector<LogisticSplit> splits, int n_threads,
                             Control& control)
    : sample_(std::move(sample)) {
  const Index n = sample_.rows.rows(), r = sample_.rows.cols();
  require(sample_.n_classes >= 2, "there must be two classes or more");
  require(static_cast<Index>(sample_.label.size()) == n && sample_.weight.size() == n,
          "rows, label and weight differ in length");
  for (Index label : sample_.label)
    require(label >= 0 && label < sample_.n_classes, "a label is out of range");
  for (const LogisticSplit& split : splits) {
    require(!split.train.empty(), "a split has no rows to learn from");
    for (const auto* side : {&split.train, &split.held_out})
      for (Index i : *side) require(i >= 0 && i < n, "a split names a row that is not there");
    n_held_ += static_cast<Index>(split.held_out.size());
  }
  shared_.resize(n, r + (sample_.fit_intercept ? 1 : 0));
  shared_.leftCols(r) = sample_.rows;
  if (sample_.fit_intercept) shared_.col(r).setOnes();
  sample_.rows.resize(0, 0);
  folds_.resize(splits.size());
  parallel_for(static_cast<Index>(splits.size()), n_threads, control, [&](Index f) {
    const auto at = static_cast<std::size_t>(f);
    prepare(sample_, shared_, splits[at], folds_[at]);
  });
}

LogisticRun::LogisticRun(std::shared_ptr<const LogisticFolds> folds,
                         const ConstRowMatrixView& offset, const ConstRowMatrixView& source,
                         double scale_ridge)
    : folds_(std::move(folds)), scale_ridge_(scale_ridge) {
  const LabelledRows& sample = folds_->sample();
  const Index n = sample.weight.size(), m = sample.n_logits();
  require(offset.rows() == n && offset.cols() == m, "offset must have one row of logits a row");
  require(source.size() == 0 || (source.rows() == n && source.cols() == m),
          "source must have one row of logits a row");
  for (const LogisticFolds::Fold& fold : folds_->folds()) {
    State state;
    state.offset = taken(offset, fold.order);
    if (source.size() > 0) state.source = taken(source, fold.order);
    state.theta = Matrix::Zero(folds_->basis(fold).cols(), m);
    states_.push_back(std::move(state));
  }
}

void LogisticRun::start_at(const LogisticCoef& fit) {
  const bool fit_intercept = folds_->sample().fit_intercept;
  for (std::size_t f = 0; f < states_.size(); ++f) {
    const LogisticFolds::Fold& fold = folds_->folds()[f];
    State& state = states_[f];
    require(fit.slopes.rows() == state.theta.cols() && fit.slopes.cols() == fold.mean.size(),
            "slopes do not fit the sample");
    const Index p = state.theta.rows() - (fit_intercept ? 1 : 0);
    if (fold.is_turned) {
      numerics::set_product(numerics::ConstView(fold.turn).transpose(),
                            numerics::ConstView(fit.slopes).transpose(), state.theta.topRows(p));
    } else {
      state.theta.topRows(p) = fit.slopes.transpose();
    }
    if (fit_intercept) state.theta.row(p) = (fit.offset + fit.slopes * fold.mean).transpose();
    state.factor = state.source.size() > 0 ? fit.source_scale : 0.0;
  }
}

LogisticStretch LogisticRun::advance(const ConstVectorView& ridges, const IterationLimits& limits,
                                     int n_threads, Control& control) {
  const LabelledRows& sample = folds_->sample();
  const Index R = ridges.size(), F = static_cast<Index>(states_.size()), T = folds_->n_held();
  const Index m = sample.n_logits();
  for (Index j = 0; j < R; ++j) require(ridges[j] >= 0.0, "a ridge must not be negative");
  std::vector<Index> first(static_cast<std::size_t>(F), 0);
  for (Index f = 1; f < F; ++f) {
    const auto at = static_cast<std::size_t>(f);
    first[at] = first[at - 1] + static_cast<Index>(folds_->folds()[at - 1].held.size());
  }
  LogisticStretch out;
  out.logits.resize(R * T, m);
  out.residual.resize(R, F);
  out.status.resize(static_cast<std::size_t>(R * F));
  std::vector<Index> steps(static_cast<std::size_t>(F), 0);
  control.set_total(F);
  parallel_for(F, n_threads, control, [&](Index f) {
    const auto place = static_cast<std::size_t>(f);
    const LogisticFolds::Fold& fold = folds_->folds()[place];
    const Matrix& basis = folds_->basis(fold);
    State& state = states_[place];
    for (Index j = 0; j < R; ++j) {
      Objective loss(basis, fold, state.offset, state.source, sample.fit_intercept, ridges[j],
                     scale_ridge_);
      if (loss.is_fixed()) state.theta.topRows(loss.n_slopes()).setZero();
      Point at{std::move(state.theta), state.factor};
      const Fit fit =
          minimise(loss, at, state.offset, fold.weight.size(), ridges[j], limits, control);
      state.theta = std::move(at.theta);
      state.factor = at.factor;
      steps[place] += fit.n_iter;
      out.residual(j, f) = fit.residual;
      out.status[static_cast<std::size_t>(j * F + f)] = fit.status;
      Index to = j * T + first[place];
      for (Index i : fold.held) {
        out.logits.row(to) = state.offset.row(i);
        out.logits.row(to) += basis.row(i) * state.theta;
        if (state.source.size() > 0) out.logits.row(to) += state.factor * state.source.row(i);
        ++to;
      }
    }
  });
  for (Index more : steps) out.n_iter += more;
  return out;
}

LogisticCoef LogisticRun::coef(Index f) const {
  require(f >= 0 && f < static_cast<Index>(states_.size()), "there is no such split");
  const LogisticFolds::Fold& fold = folds_->folds()[static_cast<std::size_t>(f)];
  const State& state = states_[static_cast<std::size_t>(f)];
  const bool fit_intercept = folds_->sample().fit_intercept;
  const Index p = state.theta.rows() - (fit_intercept ? 1 : 0), m = state.theta.cols();
  LogisticCoef out{RowMatrix(m, fold.mean.size()), Vector::Zero(m), state.factor};
  const Matrix inside = state.theta.topRows(p).transpose();
  if (fold.is_turned) {
    numerics::set_product(inside, numerics::ConstView(fold.turn).transpose(), out.slopes);
  } else {
    out.slopes = inside;
  }
  if (fit_intercept) out.offset = state.theta.row(p).transpose();
  out.offset -= out.slopes * fold.mean;
  return out;
}

}  // namespace retemper::linear

#include "retemper/linear/simulate.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "retemper/core/error.hpp"
#include "retemper/core/parallel.hpp"
#include "retemper/linear/deep.hpp"
#include "retemper/linear/theory.hpp"
#include "retemper/numerics/normal_stream.hpp"

namespace retemper::linear {

namespace {

enum Purpose : std::uint64_t {
  target_design = 1,
  target_noise,
  source_design,
  source_noise,
  target_picks
};

/// Fills z row by row with independent entries.
void draw(const Stream& stream, Entries entries, RowMatrix& z) {
  if (entries == Entries::gaussian) {
    numerics::fill_normal(stream, 0, z.size(), z.data());
    return;
  }
  constexpr Index degrees = 5;
  const Index cols = z.cols();
  std::vector<std::uint64_t> words(static_cast<std::size_t>(cols));
  Matrix normal(degrees + 1, cols);
  for (Index i = 0; i < z.rows(); ++i) {
    const auto first = static_cast<std::uint64_t>(i * cols);
    if (entries == Entries::rademacher) {
      stream.words(first, cols, words.data());
      for (Index j = 0; j < cols; ++j)
        z(i, j) = words[static_cast<std::size_t>(j)] >> 63 ? 1.0 : -1.0;
    } else {  // Student's t over its standard deviation, sqrt(degrees / (degrees - 2))
      numerics::fill_normal(stream, (degrees + 1) * first, normal.size(), normal.data());
      z.row(i) = normal.row(0).array() *
                 (3.0 / normal.bottomRows(degrees).colwise().squaredNorm().array()).sqrt();
    }
  }
}

/// Ridge or minimum-norm regression on one design: of labels y the coefficients
/// (X^T X + m)^{-1} X^T y, and the traces of the inverse eigenvalues. By Cholesky factorisation of
/// the smaller Gram matrix, by singular values where that would lose digits or rank. Keeps its
/// memory for the next design: fresh pages cost a third of a repeat.
class Regression {
 public:
  /// Draws the design of a task and factorises it; replaces the fit where training stops early.
  void compute(const Task& task, const Stream& stream, Entries entries) {
    factorise(task, stream, entries);
    step_size_ = task.step_size;
    batch_size_ = task.batch_size;
    picks_.reset();
    if (!std::isfinite(task.stop_time) || rank_ == 0) return;
    const numerics::ThinSvd space = numerics::thin_svd(x_);
    const double rate = task.stop_time / static_cast<double>(task.n_samples);
    const Eigen::ArrayXd done = -(-rate * space.s.array().square()).expm1();
    hat_ = space.u * (done / space.s.array()).matrix().asDiagonal() * space.v;
  }

  /// Draws the rows of every step with replacement from now on, instead of one pass.
  void draw_rows(const Stream& stream, Index n_steps, Control& control) {
    picks_.emplace(Picks{stream, n_steps, &control});
  }

  /// Coefficients (k, d) of labels (n, k).
  RowMatrix fit(const RowMatrix& y) const {
    if (step_size_ > 0.0) return descend(y);
    if (hat_.size() > 0) return y.transpose() * hat_;
    if (rank_ == 0) return RowMatrix::Zero(y.cols(), x_.cols());
    RowMatrix out(y.cols(), x_.cols());
    if (is_wide_) {
      RowMatrix dual = y;
      factor_.solve_in_place(dual);
      numerics::set_product(dual.transpose(), x_, out);
    } else {
      numerics::set_product(y.transpose(), x_, out);
      factor_.solve_in_place(out.transpose());
    }
    return out;
  }

  const RowMatrix& x() const { return x_; }
  Index rank() const { return rank_; }

  struct Freedom {
    double effective_ridge, df1, df2;
  };

  /// Effective ridge and degrees of freedom of the sample.
  Freedom freedom(double ridge) const {
    const auto n = static_cast<double>(x_.rows());
    const double null = n - static_cast<double>(rank_);  // zero eigenvalues of X X^T
    if (n == 0.0) return {std::numeric_limits<double>::infinity(), 0.0, 0.0};
    if (ridge == 0.0 && null > 0.0) return {0.0, n - null, n - null};
    const double lost = null > 0.0 ? 1.0 / ridge : 0.0;
    const double trace = n * trace_ + null * lost;
    const double square = n * n * square_ + null * lost * lost;
    return {n / trace, n - ridge * trace, n - trace * trace / square};
  }

 private:
  /// Stochastic gradient descent from zero: one pass, or rows drawn with replacement.
  RowMatrix descend(const RowMatrix& y) const {
    constexpr Index most_rows = 1024;  // drawn at once
    const Index n = x_.rows(), d = x_.cols(), k = y.cols(), b = batch_size_;
    const Index n_steps = picks_ ? picks_->n_steps : n / b;
    RowMatrix w = RowMatrix::Zero(k, d), error(b, k);
    std::vector<std::uint64_t> words;
    std::vector<Index> row(static_cast<std::size_t>(b));
    const Index block = std::max<Index>(1, most_rows / b) * b;
    for (Index step = 0; step < n_steps; ++step) {
      const Index at = step * b % block;
      if (picks_ && at == 0) {
        picks_->control->check();
        words.resize(static_cast<std::size_t>(block));
        picks_->stream.words(static_cast<std::uint64_t>(step * b), block, words.data());
      }
      for (Index i = 0; i < b; ++i)
        row[static_cast<std::size_t>(i)] =
            picks_ ? static_cast<Index>(words[static_cast<std::size_t>(at + i)] %
                                        static_cast<std::uint64_t>(n))
                   : step * b + i;
      for (Index i = 0; i < b; ++i)
        for (Index j = 0; j < k; ++j) {
          const Index r = row[static_cast<std::size_t>(i)];
          error(i, j) = y(r, j) - w.row(j).dot(x_.row(r));
        }
      error *= step_size_ / static_cast<double>(b);
      for (Index i = 0; i < b; ++i)
        for (Index j = 0; j < k; ++j)
          w.row(j) += error(i, j) * x_.row(row[static_cast<std::size_t>(i)]);
    }
    return w;
  }

  void factorise(const Task& task, const Stream& stream, Entries entries) {
    const double m = static_cast<double>(task.n_samples) * task.ridge;
    x_.resize(task.n_samples, task.spectrum.size());
    if (entries == Entries::given) {
      x_ = task.entries;
    } else {
      draw(stream, entries, x_);
    }
    x_.array().rowwise() *= task.spectrum.cwiseSqrt().transpose().array();
    if (task.row_scale.size() > 0) x_.array().colwise() *= task.row_scale.array();

    const Index side = std::min(x_.rows(), x_.cols());
    is_wide_ = x_.rows() <= x_.cols();
    rank_ = side;
    trace_ = square_ = 0.0;
    hat_.resize(0, 0);
    if (side == 0) return;
    gram_.setZero(side, side);
    if (is_wide_) {
      numerics::add_gram(x_, gram_);
    } else {
      numerics::add_gram(x_.transpose(), gram_);
    }
    gram_.diagonal().array() += m;
    const double size = std::sqrt(2.0 * gram_.squaredNorm() - gram_.diagonal().squaredNorm());
    if (factor_.compute(gram_)) {
      inverse_.setIdentity(side, side);
      factor_.halve_in_place(inverse_);
      trace_ = inverse_.squaredNorm();
      factor_.finish_in_place(inverse_);
      square_ = inverse_.squaredNorm();
      if (size * std::sqrt(square_) < numerics::largest_gram_condition) return;
    }
    const numerics::ThinSvd space = numerics::thin_svd(x_);
    const Eigen::ArrayXd full = space.s.array().square() + m;
    require(full.size() == 0 || full.minCoeff() > 0.0,
            "ridge must exceed minus the smallest non-zero eigenvalue of X^T X / n");
    rank_ = space.s.size();
    trace_ = full.inverse().sum();
    square_ = full.square().inverse().sum();
    hat_ = space.u * (space.s.array() / full).matrix().asDiagonal() * space.v;
  }

  RowMatrix x_;                // (n, d)
  bool is_wide_ = true;        // the smaller Gram matrix is X X^T
  Matrix gram_, inverse_;      // (side, side) lower half of the smaller Gram matrix plus m
  numerics::Cholesky factor_;  // of the smaller Gram matrix plus m
  RowMatrix hat_;              // (n, d) used instead where not empty
  Index rank_ = 0, batch_size_ = 1;
  double step_size_ = 0.0;
  struct Picks {
    Stream stream;
    Index n_steps;
    Control* control;
  };
  std::optional<Picks> picks_;         // empty: one pass
  double trace_ = 0.0, square_ = 0.0;  // of 1 / (s^2 + m) and its square
};

RowMatrix draw_noise(const Task& task, const Stream& stream) {  // (n, k)
  RowMatrix noise(task.n_samples, task.teacher.rows());
  numerics::fill_normal(stream, 0, noise.size(), noise.data());
  if (task.row_noise.size() > 0) noise.array().colwise() *= task.row_noise.array();
  return noise * task.noise;
}

/// Memory of one running repeat, lent to the next.
struct Workspace {
  Regression past, now;
};

class WorkspacePool {
 public:
  std::unique_ptr<Workspace> take() {
    const std::scoped_lock lock(mutex_);
    if (idle_.empty()) return std::make_unique<Workspace>();
    std::unique_ptr<Workspace> one = std::move(idle_.back());
    idle_.pop_back();
    return one;
  }
  void give(std::unique_ptr<Workspace> one) {
    const std::scoped_lock lock(mutex_);
    idle_.push_back(std::move(one));
  }

 private:
  std::mutex mutex_;
  std::vector<std::unique_ptr<Workspace>> idle_;
};

Vector squares(const RowMatrix& rows) {
  return rows.rowwise().squaredNorm();
}

/// The regression that a deep network with ridge ends in: towards `scale` times its source, with a
/// ridge over t = |coef|^{1 - 1/L}.
struct DeepRidge {
  double ridge, scale;
};

DeepRidge deep_ridge(const numerics::ThinSvd& rows, const RowMatrix& y, const RowMatrix& source,
                     double depth, double ridge) {
  const DeepFit fit = deep_fit(rows, y, source, depth, ridge);
  const double norm = fit.coef.norm();
  if (norm == 0.0) return {ridge, 1.0};
  return {ridge * std::pow(norm, 1.0 / depth - 1.0), fit.source_scale[0]};
}

}  // namespace

Simulation simulate_linear(const Task& target, const Source& source, double depth,
                           double source_scale, Entries entries, const PhiloxKey& key,
                           Index n_repeats, int n_threads, Control& control) {
  const Index d = target.spectrum.size(), k = target.teacher.rows();
  const bool is_fixed = source.coef.size() > 0;
  const Index full_rank = (target.spectrum.array() > 0.0).count();
  const bool is_turned = source.rotation.size() > 0;
  const RowMatrix& origin = is_fixed ? source.coef : source.task.teacher;
  require(n_repeats >= 1 && target.n_samples >= 0 && source.task.n_samples >= 0,
          "counts must not be negative");
  require(target.teacher.cols() == d && origin.rows() == k && origin.cols() == d &&
              (is_fixed || source.task.spectrum.size() == d),
          "spectra, teachers and source differ in shape");
  require(!is_turned || (source.rotation.rows() == d && source.rotation.cols() == d),
          "rotation must have shape (d, d)");
  require(target.stop_time >= 0.0 &&
              (!std::isfinite(target.stop_time) || (depth == 1.0 && target.ridge == 0.0)),
          "a finite stop_time must not be negative, and needs depth 1 and ridge 0");
  const auto fits = [&](const Vector& each) {
    return each.size() == 0 || each.size() == target.n_samples;
  };
  require(fits(target.row_scale) && fits(target.row_noise),
          "row_scale and row_noise must be empty or hold one number for each row");
  const auto has_entries = [&](const Task& task) {
    return task.entries.rows() == task.n_samples && task.entries.cols() == task.spectrum.size();
  };
  require(entries != Entries::given ||
              (n_repeats == 1 && has_entries(target) && (is_fixed || has_entries(source.task))),
          "entries that are given must have shape (n_samples, d), for one repeat");
  const bool is_descent = target.step_size > 0.0;
  require(target.batch_size >= 1 && (!is_descent || (depth == 1.0 && target.ridge == 0.0 &&
                                                     !std::isfinite(target.stop_time))),
          "a step_size needs depth 1, ridge 0, no stop_time and a batch_size of at least 1");
  const bool is_deep_ridge = depth != 1.0 && target.ridge != 0.0;
  require(!is_deep_ridge || (k == 1 && std::isfinite(depth) && target.ridge > 0.0),
          "ridge above depth 1 needs one output, a finite depth and a positive value");

  Simulation out;
  for (Vector* each :
       {&out.risk, &out.bias, &out.variance, &out.effective_ridge, &out.df1, &out.df2,
        &out.risk_scratch, &out.risk_zero_shot, &out.training_error, &out.cross, &out.spread})
    each->resize(n_repeats);
  out.source_scale.resize(n_repeats, k);
  WorkspacePool pool;
  control.set_total(n_repeats);
  parallel_for(n_repeats, n_threads, control, [&](Index r) {
    std::unique_ptr<Workspace> space = pool.take();
    const auto stream = [&](Purpose purpose) {
      return Stream(key, purpose, static_cast<std::uint64_t>(r));
    };
    const auto inner = [&](const RowMatrix& a, const RowMatrix& b) {
      return (a * target.spectrum.asDiagonal()).cwiseProduct(b).sum();
    };
    RowMatrix w0 = source.coef;  // (k, d)
    if (!is_fixed) {
      const Task& task = source.task;
      Regression& past = space->past;
      past.compute(task, stream(source_design), entries);
      control.check();
      w0 = past.fit(past.x() * task.teacher.transpose() + draw_noise(task, stream(source_noise)));
      if (is_turned) w0 = (w0 * source.rotation.transpose()).eval();
    }
    Regression& now = space->now;
    now.compute(target, stream(target_design), entries);
    control.check();
    DeepRidge own{target.ridge, 1.0}, alone{target.ridge, 1.0};
    if (is_deep_ridge && now.rank() > 0) {
      const RowMatrix y =
          now.x() * target.teacher.transpose() + draw_noise(target, stream(target_noise));
      const numerics::ThinSvd rows = numerics::thin_svd(now.x());
      own = deep_ridge(rows, y, source_scale * w0, depth, target.ridge);
      alone = deep_ridge(rows, y, RowMatrix::Zero(k, d), depth, target.ridge);
      Task task = target;
      task.ridge = own.ridge;
      now.compute(task, stream(target_design), entries);
      control.check();
    }
    if (is_descent && target.n_steps >= 0 && target.n_samples > 0)
      now.draw_rows(stream(target_picks), target.n_steps, control);
    const RowMatrix noise = draw_noise(target, stream(target_noise)), heard = now.fit(noise);
    const RowMatrix learned = now.fit(now.x() * target.teacher.transpose());
    const RowMatrix kept = now.fit(now.x() * w0.transpose());
    // what the fit does not see: nothing where the samples span all that has variance
    const bool is_full = target.ridge == 0.0 && !std::isfinite(target.stop_time) && !is_descent;
    const double unseen = is_full && now.rank() == full_rank ? 0.0 : 1.0;
    const RowMatrix missed = unseen * (target.teacher - learned), brought = unseen * (w0 - kept);
    Vector scale = Vector::Constant(k, source_scale);
    if (is_deep_ridge)
      scale[0] *= own.scale;
    else if (depth != 1.0 && now.rank() > 0)
      scale =
          source_scale * deep_scale(squares(learned + heard), squares(source_scale * kept),
                                    squares(source_scale * (w0 - kept)), Vector::Constant(k, depth))
                             .scale;
    const RowMatrix scratch = heard - missed, zero_shot = source_scale * w0 - target.teacher;
    const RowMatrix silent = scale.asDiagonal() * brought - missed;
    const RowMatrix error = silent + heard;
    const Regression::Freedom freedom = now.freedom(own.ridge);
    out.risk[r] = inner(error, error);
    out.bias[r] = inner(silent, silent);
    out.variance[r] = inner(heard, heard);
    out.effective_ridge[r] = freedom.effective_ridge;
    out.df1[r] = freedom.df1;
    out.df2[r] = freedom.df2;
    out.risk_scratch[r] = inner(scratch, scratch);
    out.risk_zero_shot[r] = inner(zero_shot, zero_shot);
    if (target.n_samples == 0 || (is_full && now.rank() == target.n_samples)) {
      out.training_error[r] = 0.0;
    } else {
      RowMatrix left = noise;  // residuals of the rows
      numerics::add_product(now.x(), error.transpose(), left, -1.0);
      out.training_error[r] = left.squaredNorm() / static_cast<double>(target.n_samples);
    }
    out.cross[r] = inner(scratch, brought);
    out.spread[r] = inner(brought, brought);
    out.source_scale.row(r) = scale.transpose();
    if (is_deep_ridge && now.rank() > 0) {  // from zero the network has a ridge of its own
      Task task = target;
      task.ridge = alone.ridge;
      now.compute(task, stream(target_design), entries);
      const RowMatrix wrong =
          now.fit(now.x() * target.teacher.transpose() + draw_noise(target, stream(target_noise))) -
          target.teacher;
      out.risk_scratch[r] = inner(wrong, wrong);
    }
    pool.give(std::move(space));
  });
  return out;
}

}  // namespace retemper::linear

#include "retemper/diagonal/mean_field.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <vector>

#include "retemper/core/error.hpp"
#include "retemper/core/parallel.hpp"
#include "retemper/diagonal/mirror.hpp"

namespace retemper::diagonal {

namespace {

constexpr Index batch = 32;         // coordinates that are advanced together
constexpr double round_tol = 1e-7;  // of the equations of one step, relative
constexpr int most_rounds = 40;
constexpr double new_direction = 1e-5;  // part of a residual that gets a normal of its own

/// One coordinate's map from its dual variable x, the integral of the force, to its coefficient.
class Map {
 public:
  Map(double c, double u0, double depth) : c_(c), u0_(u0) {
    is_deep_ = depth > 2.0;
    if (is_deep_ && c > 0.0) {
      mirror_ = DeepMirror::of(c, depth);
      start_ = mirror_.force(u0);
    }
  }
  struct Point {
    double x = 0.0, coef = 0.0, slope = 0.0;  // slope: of the coefficient in x
  };
  Point start() const { return at(u0_); }
  /// Where beta + penalty * x = z: a scalar channel of more than two layers.
  Point solve(double z, double penalty) const {
    return c_ > 0.0 ? at(deep_prox(mirror_, z, penalty, u0_)) : Point{};
  }

 private:
  Point at(double u) const {
    if (c_ == 0.0) return {0.0, 0.0, 0.0};
    if (!is_deep_) {
      const SinhCosh point = sinh_cosh(u);
      return {0.5 * (u - u0_), c_ * point.sinh, 2.0 * c_ * point.cosh};
    }
    const DeepPoint point = deep_point(mirror_, u);
    return {mirror_.force(u) - start_, point.coef, point.slope / (mirror_.stiffness * point.sech2)};
  }
  double c_, u0_, start_ = 0.0;
  bool is_deep_;
  DeepMirror mirror_{};
};

/// The whole state up to the last accepted step; a step writes to its own scratch and is accepted
/// or thrown away.
class Solver {
 public:
  Solver(const Coordinates& at, const MeanFieldOptions& options, Control& control)
      : at_(at), options_(options), control_(control), n_(at.size()), rank_(at.normals.cols()) {
    maps_.reserve(static_cast<std::size_t>(n_));
    for (Index i = 0; i < n_; ++i) maps_.emplace_back(at.scale[i], at.centre[i], at.depth);
    n_batches_ = (n_ + batch - 1) / batch;
    response_.resize(static_cast<std::size_t>(n_batches_));
    basis_.resize(n_ + 1, rank_);
    root_weight_ = at.weight.cwiseSqrt();
  }

  MeanField run() {
    begin();
    double h = first_step();
    while (times_.back() < options_.end_time) {
      control_.check();
      if (steps() >= options_.most_steps) {
        out_.status = Status::max_iter;
        break;
      }
      const double left = options_.end_time - times_.back();
      const bool is_last = h >= left * (1.0 - 1e-12);
      const double error = attempt(is_last ? left : h);
      const bool is_good = error <= 1.0;
      if (is_good) accept(is_last ? options_.end_time : times_.back() + h);
      if (is_good && times_.back() < options_.end_time && is_still()) {
        hold();
        break;
      }
      const double factor = error > 0.0 ? 0.9 * std::pow(error, -1.0 / 3.0) : 3.0;
      h *= std::isfinite(error) ? std::clamp(factor, 0.2, is_good ? 2.5 : 0.9) : 0.2;
      if (!(h > 1e-14 * times_.back()) && !is_good) {
        out_.status = Status::stalled;
        break;
      }
    }
    return finish();
  }

 private:
  enum class Rule { trapezoidal, backward };
  using Column = std::vector<double>;
  Index steps() const { return static_cast<Index>(times_.size()); }

  void begin() {
    wrong_.resize(n_, 0);
    Vector coef(n_), slope(n_);
    for (Index i = 0; i < n_; ++i) {
      const Map::Point p = maps_[static_cast<std::size_t>(i)].start();
      coef[i] = p.coef;
      slope[i] = p.slope;
    }
    size_ = std::sqrt(
        (at_.weight.array() * (at_.target.array().square() + coef.array().square())).sum() +
        options_.noise_var);
    if (!(size_ > 0.0)) size_ = 1.0;
    // the row of time zero: no response yet, the residual is that of the start
    new_.coef = coef;
    new_.slope = slope;
    new_.wrong = at_.target - coef;
    new_.x = Vector::Zero(n_);
    new_.kernel = Vector::Ones(1);
    new_.gain = Vector::Zero(1);
    project(new_.wrong);
    new_.noise = new_.direction;
    new_.field = std::sqrt(options_.alpha) * (at_.normals * new_.noise);
    new_.weight_a = Vector::Zero(1);
    for (auto& b : response_) b.clear();
    new_.response.assign(static_cast<std::size_t>(n_ * 1), 0.0);
    new_.step = 0.0;
    accept(0.0);
  }

  double first_step() const {
    const double rate = std::sqrt((at_.weight.array() * slope_.col(0).array().square()).sum()) *
                        (1.0 + options_.alpha);
    double fastest = 0.0;
    for (Index i = 0; i < n_; ++i)
      if (at_.scale[i] > 0.0) fastest = std::max(fastest, std::abs(force_(i, 0)));
    const double by_rate = rate > 0.0 ? 0.05 / rate : options_.end_time;
    const double by_force = fastest > 0.0 ? 0.25 / fastest : options_.end_time;
    return std::min({by_rate, by_force, options_.end_time});
  }

  /// Splits the residual's part that comes from coordinates and noise into orthonormal directions.
  void project(const Vector& wrong) {
    Vector left(n_ + 1);
    left.head(n_) = root_weight_.array() * wrong.array();
    left[n_] = std::sqrt(options_.noise_var);
    new_.direction = Vector::Zero(rank_);
    const double whole = left.norm();
    for (int twice = 0; twice < 2 && used_ > 0; ++twice) {
      const Vector part = basis_.leftCols(used_).transpose() * left;
      left.noalias() -= basis_.leftCols(used_) * part;
      new_.direction.head(used_) += part;
    }
    const double rest = left.norm();
    new_.has_direction = rest > new_direction * whole;
    if (!new_.has_direction) return;
    if (used_ == rank_) {
      new_.lost = rest / size_;
      new_.has_direction = false;
      return;
    }
    new_.direction[used_] = rest;
    new_.fresh = left / rest;
  }

  /// One step of length h; returns its error over the tolerance, or infinity.
  double attempt(double h) {
    const Index k = steps();
    const double alpha = options_.alpha, last = h_last_;
    // all of the weight on the new time where the trapezoidal rule has begun to swing
    const double after = rule_ == Rule::trapezoidal ? 0.5 * h : h, before = h - after;
    new_.before = before;
    new_.after = after;
    new_.step = h;
    new_.lost = 0.0;
    new_.weight_a = Vector::Zero(k + 1);
    new_.weight_a.head(k) = weight_a_;
    new_.weight_a[k - 1] += before;
    new_.weight_a[k] = after;
    // what the steps before make one expect
    new_.gain = Vector::Zero(k + 1);
    new_.gain.head(k) = gain_.row(k - 1).head(k).transpose();
    if (k > 1) {
      const double ratio = std::min(1.0, h / last);
      new_.gain.head(k - 1) +=
          ratio * (gain_.row(k - 1) - gain_.row(k - 2)).head(k - 1).transpose();
      new_.gain[k - 1] *= 0.5 * (last + h) / last;
      new_.gain[k] = gain_(k - 1, k - 1) * h / last;
    }
    new_.wrong = wrong_.col(k - 1);
    Vector expected = dual_.col(k - 1) + h * force_.col(k - 1);
    if (k > 1) {
      new_.wrong += std::min(1.0, h / last) * (wrong_.col(k - 1) - wrong_.col(k - 2));
      if (rule_ == Rule::trapezoidal)
        expected += (0.5 * h * h / last) * (force_.col(k - 1) - force_.col(k - 2));
    }
    Vector partial(n_batches_ * (k + 1));
    new_.response.resize(static_cast<std::size_t>(n_batches_ * batch * (k + 1)));
    new_.x.resize(n_);
    new_.coef.resize(n_);
    new_.slope.resize(n_);
    new_.field.resize(n_);
    double change = 0.0;
    int round = 0;
    for (; round < most_rounds; ++round) {
      control_.check();
      kernel_row(k);
      project(new_.wrong);
      new_.noise = new_.kernel[k] * new_.direction;
      new_.noise.noalias() += directions_.leftCols(k) * new_.kernel.head(k);
      // of the residual's answer to a coordinate, integrated over time
      Vector answer = after * new_.kernel;
      answer.head(k).noalias() += kernel_.topLeftCorner(k, k).transpose() * new_.weight_a.head(k);
      answer *= alpha;
      Vector previous = new_.wrong;
      parallel_for(n_batches_, options_.n_threads,
                   [&](Index b) { advance(b, k, answer, partial.data() + b * (k + 1)); });
      Vector gain = Vector::Zero(k + 1);
      for (Index b = 0; b < n_batches_; ++b) gain += partial.segment(b * (k + 1), k + 1);
      const double moved =
          (root_weight_.array() * (new_.wrong - previous).array()).matrix().norm() / size_;
      const double turned =
          (gain - new_.gain).cwiseAbs().maxCoeff() / std::max(gain.cwiseAbs().maxCoeff(), 1e-300);
      new_.gain = gain;
      change = std::max(moved, turned);
      ++out_.n_iter;
      if (!(change > round_tol)) break;
    }
    if (!(change <= round_tol)) return std::numeric_limits<double>::infinity();
    new_.change = change;
    // beside the explicit formula of the same order
    const bool is_second = k > 1 && rule_ == Rule::trapezoidal;
    const double share = is_second ? 1.0 / (3.0 + 3.0 * last / h) : 0.5;
    const double error =
        (root_weight_.array() * new_.slope.array() * (new_.x - expected).array()).matrix().norm();
    return share * error / (options_.tol * size_);
  }

  /// Row k of the inverse of 1 + gain.
  void kernel_row(Index k) {
    new_.kernel.resize(k + 1);
    new_.kernel[k] = 1.0 / (1.0 + new_.gain[k]);
    new_.kernel.head(k).noalias() =
        -new_.kernel[k] * (kernel_.topLeftCorner(k, k).transpose() * new_.gain.head(k));
  }

  /// Coordinates of batch b at the new time, and their part of the gain.
  void advance(Index b, Index k, const Vector& answer, double* gain) {
    const Index from = b * batch, size = std::min(batch, n_ - from);
    const double stiff = answer[k];
    std::array<double, batch> scale{}, weight{};
    Vector field = at_.normals.block(from, 0, size, used_) * new_.noise.head(used_);
    if (new_.has_direction) field += new_.noise[used_] * at_.normals.col(used_).segment(from, size);
    field *= std::sqrt(options_.alpha);
    Vector shift = field_sum_.segment(from, size) +
                   new_.before * field_.col(k - 1).segment(from, size) + new_.after * field;
    shift.noalias() += wrong_.block(from, 0, size, k) * answer.head(k);
    new_.field.segment(from, size) = field;
    channels(from, size, shift, stiff);
    new_.wrong.segment(from, size) = at_.target.segment(from, size) - new_.coef.segment(from, size);
    for (Index i = 0; i < size; ++i) {
      const double slope = new_.slope[from + i];
      scale[static_cast<std::size_t>(i)] = 1.0 / (1.0 + stiff * slope);
      weight[static_cast<std::size_t>(i)] = at_.weight[from + i] * slope;
    }
    // products of the answer and the slopes at all times before
    std::vector<double> product(static_cast<std::size_t>(k * batch), 0.0);
    for (Index j = 0; j < k; ++j)
      for (Index i = 0; i < size; ++i)
        product[static_cast<std::size_t>(j * batch + i)] = answer[j] * slope_(from + i, j);
    double* out = new_.response.data() + b * batch * (k + 1);
    const auto& before = response_[static_cast<std::size_t>(b)];
    for (Index s = 0; s <= k; ++s) {
      std::array<double, batch> sum;
      sum.fill(new_.weight_a[s]);
      if (s < k)
        respond(before[static_cast<std::size_t>(s)].data(), product.data() + s * batch, k - s,
                sum.data());
      double mean = 0.0;
      for (std::size_t i = 0; i < batch; ++i) {
        sum[i] *= scale[i];
        mean += weight[i] * sum[i];
      }
      std::copy(sum.begin(), sum.end(), out + s * batch);
      gain[s] = mean;
    }
  }

  /// Coefficients where beta + (x - shift) / stiff = target: scalar channels.
  void channels(Index from, Index size, const Vector& shift, double stiff) {
    const double penalty = 1.0 / stiff;
    const Vector z = at_.target.segment(from, size) + shift * penalty;
    for (Index i = 0; i < size && at_.depth > 2.0; ++i) {
      const Map::Point p = maps_[static_cast<std::size_t>(from + i)].solve(z[i], penalty);
      new_.x[from + i] = p.x;
      new_.coef[from + i] = p.coef;
      new_.slope[from + i] = p.slope;
    }
    if (at_.depth > 2.0) return;
    const auto scale = at_.scale.segment(from, size), start = at_.centre.segment(from, size);
    auto x = new_.x.segment(from, size);
    mirror_prox(z, scale, penalty, start, x);
    mirror_map(scale, x, new_.coef.segment(from, size), new_.slope.segment(from, size));
    x = 0.5 * (x - start);
  }

  /// sum -= products * responses over `count` times.
  static void respond(const double* response, const double* product, Index count, double* sum) {
    using Batch = Eigen::Array<double, batch, 1>;  // stays in registers
    Batch total = Eigen::Map<const Batch>(sum);
    for (Index j = 0; j < count; ++j, response += batch, product += batch)
      total -= Eigen::Map<const Batch>(product) * Eigen::Map<const Batch>(response);
    Eigen::Map<Batch>{sum} = total;
  }

  void accept(double time) {
    const Index k = steps();
    if (k == wrong_.cols()) {
      const Index room = k + 32;
      for (Matrix* m : {&wrong_, &slope_, &dual_, &field_, &force_})
        m->conservativeResize(n_, room);
      for (Matrix* m : {&gain_, &kernel_}) {
        const Matrix old = *m;
        *m = Matrix::Zero(room, room);
        m->topLeftCorner(k, k) = old.topLeftCorner(k, k);
      }
      directions_.conservativeResize(rank_, room);
    }
    kernel_row(k);
    times_.push_back(time);
    if (new_.has_direction) {
      basis_.col(used_) = new_.fresh;
      ++used_;
    }
    directions_.col(k) = new_.direction;
    gain_.row(k).head(k + 1) = new_.gain.transpose();
    kernel_.row(k).head(k + 1) = new_.kernel.transpose();
    weight_a_ = new_.weight_a;
    if (k > 0)
      field_sum_ += new_.before * field_.col(k - 1) + new_.after * new_.field;
    else
      field_sum_ = Vector::Zero(n_);
    wrong_.col(k) = new_.wrong;
    slope_.col(k) = new_.slope;
    dual_.col(k) = new_.x;
    field_.col(k) = new_.field;
    force_.col(k) = new_.field;
    force_.col(k).noalias() += options_.alpha * (wrong_.leftCols(k + 1) * new_.kernel.head(k + 1));
    // speeds that turn round from step to step are those of modes that have long decayed
    const bool turns = k > 1 && (at_.weight.array() * slope_.col(k).array() *
                                 force_.col(k).array() * force_.col(k - 1).array())
                                        .sum() < 0.0;
    rule_ = turns && rule_ == Rule::trapezoidal ? Rule::backward : Rule::trapezoidal;
    for (Index b = 0; b < n_batches_; ++b) {
      auto& mine = response_[static_cast<std::size_t>(b)];
      mine.emplace_back();
      const double* row = new_.response.data() + b * batch * (k + 1);
      for (Index s = 0; s <= k && k > 0; ++s) {
        auto& column = mine[static_cast<std::size_t>(s)];
        column.insert(column.end(), row + s * batch, row + (s + 1) * batch);
      }
      if (k == 0) mine.back().assign(batch, 0.0);
    }
    h_last_ = new_.step;
    out_.residual = std::max(out_.residual, new_.change);
    out_.lost = std::max(out_.lost, new_.lost);
    record(k);
  }

  /// Whether, at this speed and force, nothing moves and nothing can emerge until the last time.
  bool is_still() const {
    const auto force = force_.col(steps() - 1).array();
    const auto speed = slope_.col(steps() - 1).array() * force;
    const double left = options_.end_time - times_.back();
    return left * std::sqrt((at_.weight.array() * speed.square()).sum()) <
               1e-3 * options_.tol * size_ &&
           left * force.abs().maxCoeff() < 1e-3;
  }

  /// The last time, at which everything is as it is.
  void hold() {
    times_.push_back(options_.end_time);
    train_.push_back(train_.back());
    train_slope_.back() = 0.0;
    train_slope_.push_back(0.0);
    moments_.back().mse_slope.setZero();
    moments_.back().drift_slope.setZero();
    moments_.push_back(moments_.back());
  }

  void record(Index k) {
    const Vector residual = directions_.leftCols(k + 1) * new_.kernel.head(k + 1);
    const Vector speed = slope_.col(k).cwiseProduct(force_.col(k));
    train_.push_back(residual.squaredNorm());
    train_slope_.push_back(-2.0 / options_.alpha *
                           (at_.weight.array() * speed.array() * force_.col(k).array()).sum());
    Moments now{Vector::Zero(at_.n_groups), Vector::Zero(at_.n_groups), Vector::Zero(at_.n_groups),
                Vector::Zero(at_.n_groups)};
    for (Index i = 0; i < n_; ++i) {
      const Index g = at_.group[i];
      const double moved = new_.coef[i] - at_.source[i], w = at_.weight[i];
      now.mse[g] += w * new_.wrong[i] * new_.wrong[i];
      now.mse_slope[g] -= 2.0 * w * new_.wrong[i] * speed[i];
      now.drift[g] += w * moved * moved;
      now.drift_slope[g] += 2.0 * w * moved * speed[i];
    }
    moments_.push_back(std::move(now));
  }

  MeanField finish() {
    const Index t = steps();
    out_.times = Eigen::Map<const Vector>(times_.data(), t);
    out_.train = Eigen::Map<const Vector>(train_.data(), t);
    out_.train_slope = Eigen::Map<const Vector>(train_slope_.data(), t);
    for (RowMatrix* m : {&out_.mse, &out_.mse_slope, &out_.drift, &out_.drift_slope})
      m->resize(t, at_.n_groups);
    for (Index k = 0; k < t; ++k) {
      const Moments& m = moments_[static_cast<std::size_t>(k)];
      out_.mse.row(k) = m.mse.transpose();
      out_.mse_slope.row(k) = m.mse_slope.transpose();
      out_.drift.row(k) = m.drift.transpose();
      out_.drift_slope.row(k) = m.drift_slope.transpose();
    }
    out_.coef = at_.target - new_.wrong;
    return std::move(out_);
  }

  struct Moments {
    Vector mse, mse_slope, drift, drift_slope;
  };
  struct Scratch {
    Vector x, coef, slope, wrong, field;  // (N,)
    Vector gain, kernel, weight_a;        // (k + 1,)
    Vector direction, noise;              // (R,)
    Vector fresh;                         // (N + 1,)
    std::vector<double> response;         // (batches, k + 1, batch)
    bool has_direction = false;
    double step = 0.0, before = 0.0, after = 0.0, change = 0.0, lost = 0.0;
  };

  const Coordinates& at_;
  const MeanFieldOptions& options_;
  Control& control_;
  Index n_, rank_, n_batches_ = 0, used_ = 0;
  std::vector<Map> maps_;
  std::vector<double> times_, train_, train_slope_;
  std::vector<Moments> moments_;
  Matrix wrong_, slope_, dual_, field_,
      force_;             // (N, T): target - beta, d beta / dx, x, noise, dx / dt
  Matrix gain_, kernel_;  // (T, T): response of the mean coefficient, inverse of 1 + it
  Matrix directions_;     // (R, T): coordinates of the residual's sources
  Matrix basis_;          // (N + 1, R)
  Vector root_weight_, field_sum_, weight_a_;
  std::vector<std::vector<Column>>
      response_;  // by batch and time of the push: (times since, batch)
  Scratch new_;
  double size_ = 1.0, h_last_ = 0.0;
  Rule rule_ = Rule::trapezoidal;
  MeanField out_;
};

}  // namespace

void Coordinates::validate() const {
  const Index n = size();
  require(n > 0 && target.size() == n && scale.size() == n && source.size() == n &&
              centre.size() == n && group.size() == n && normals.rows() == n,
          "arrays of coordinates must have one length");
  require(normals.cols() > 0 && depth >= 2.0, "normals must not be empty, depth at least 2");
  require(group.minCoeff() >= 0 && group.maxCoeff() < n_groups, "groups must be below n_groups");
}

MeanField mean_field_flow(const Coordinates& at, const MeanFieldOptions& options,
                          Control& control) {
  at.validate();
  require(options.alpha > 0.0 && options.end_time > 0.0 && options.tol > 0.0,
          "alpha, end_time and tol must be positive");
  return Solver(at, options, control).run();
}

}  // namespace retemper::diagonal

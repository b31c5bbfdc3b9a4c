#include "retemper/widenet/simulate.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <vector>

#include "retemper/core/error.hpp"
#include "retemper/core/parallel.hpp"
#include "retemper/numerics/linalg.hpp"
#include "retemper/numerics/normal_stream.hpp"
#include "retemper/numerics/vector_math.hpp"

namespace retemper::widenet {

namespace vm = numerics::vm;

namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();
constexpr double two_over_sqrt_pi = 1.12837916709551257390;
constexpr double sqrt_half = 0.70710678118654752440;
constexpr double one_over_sqrt_2pi = 0.39894228040143267794;
constexpr double grow = 1.02, shrink = 0.92;  // of the step: acceptance near 0.8

// Streams; the replica is the chain.
enum Purpose : std::uint64_t { source_start = 1, source_sweep, target_start, target_sweep };

/// h becomes s(h), and slope s'(h); not finite beyond the table, which ends the move.
void look_up(const ActivationTable& table, Index n, double* h, double* slope) {
  constexpr Index block = 32;
  const double* edge = table.edge.data();
  const double low = edge[0], high = edge[table.edge.size() - 1];
  const Index order = table.coef.cols();
  const double *f = table.coef.data(), *g = table.slope.data();
  Index at[block];
  double x[block], f1[block], f2[block], g1[block], g2[block];
  for (Index start = 0; start < n; start += block) {
    const Index size = std::min(block, n - start);
    for (Index j = 0; j < size; ++j) {
      const double u = h[start + j];
      const bool is_inside = u >= low && u < high;
      Index panel = 0;
      if (is_inside) {
        panel = table.first[static_cast<std::size_t>((u - low) * table.cells_per_unit)];
        while (u >= edge[panel + 1]) ++panel;
      }
      at[j] = panel * order;
      x[j] = is_inside ? (2.0 * u - edge[panel] - edge[panel + 1]) / (edge[panel + 1] - edge[panel])
                       : infinity;
      f1[j] = f2[j] = g1[j] = g2[j] = 0.0;
    }
    for (Index k = order - 1; k > 0; --k) {  // Clenshaw sums of value and slope
#pragma omp simd
      for (Index j = 0; j < size; ++j) {
        const double f0 = f[at[j] + k] + 2.0 * x[j] * f1[j] - f2[j];
        const double g0 = g[at[j] + k] + 2.0 * x[j] * g1[j] - g2[j];
        f2[j] = f1[j];
        f1[j] = f0;
        g2[j] = g1[j];
        g1[j] = g0;
      }
    }
#pragma omp simd
    for (Index j = 0; j < size; ++j) {
      h[start + j] = f[at[j]] + x[j] * f1[j] - f2[j];
      slope[start + j] = g[at[j]] + x[j] * g1[j] - g2[j];
    }
  }
}

/// h becomes s(h), and slope s'(h).
void activate(const HiddenUnit& unit, Index n, double* h, double* slope) {
  switch (unit.activation) {
    case Activation::table:
      return look_up(unit.table, n, h, slope);
    case Activation::erf:
#pragma omp simd
      for (Index i = 0; i < n; ++i) {
        const vm::ErfGauss e = vm::erf_gauss(h[i]);
        h[i] = e.erf;
        slope[i] = two_over_sqrt_pi * e.gauss;
      }
      return;
    case Activation::relu:
#pragma omp simd
      for (Index i = 0; i < n; ++i) {
        slope[i] = h[i] > 0.0 ? 1.0 : 0.0;
        h[i] *= slope[i];
      }
      return;
    case Activation::gelu:
#pragma omp simd
      for (Index i = 0; i < n; ++i) {
        const double x = h[i];
        const vm::ErfGauss e = vm::erf_gauss(x * sqrt_half);
        const double ndtr = 0.5 + 0.5 * e.erf;
        h[i] = x * ndtr;
        slope[i] = ndtr + x * one_over_sqrt_2pi * e.gauss;
      }
      return;
    case Activation::linear:
#pragma omp simd
      for (Index i = 0; i < n; ++i) slope[i] = 1.0;
      return;
  }
}

/// What a set of weights says once the read-out is integrated out.
struct ReadOut {
  Matrix mean;      // (width, n_outputs) of v
  Matrix square;    // (n_outputs, n_outputs), E v^T v
  Matrix f;         // (n_test, n_outputs)
  Matrix variance;  // the same, equal for all outputs

  /// Probability that an output is positive.
  Matrix positive() const {
    return f.binaryExpr(variance, [](double m, double v) {
      if (v > 0.0) return 0.5 * std::erfc(-m / std::sqrt(2.0 * v));
      return m > 0.0 ? 1.0 : 0.0;
    });
  }
};

/// One task: data, and the posterior of the read-out given the weights W: the layers on top of each
/// other, n_features rows of the first and width of every further one, and width columns.
/// C = T + scale Phi Phi^T (P, P) is factored on its shorter side, Phi the last hidden layer.
class Task {
 public:
  Task(const HiddenUnit& unit, Index n_hidden_layers, double lam1, double temperature,
       const ConstRowMatrixView& X, const ConstRowMatrixView& y, Index width)
      : X_(X / std::sqrt(static_cast<double>(X.cols()))),
        y_(y),
        unit_(unit),
        temperature_(temperature),
        readout_var_(1.0 / lam1),
        scale_(readout_var_ / static_cast<double>(width)),
        is_wide_(X.rows() <= width || temperature == 0.0),
        below_(static_cast<std::size_t>(n_hidden_layers - 1), Layer(X.rows(), width)),
        Phi_(X.rows(), width),
        slope_(X.rows(), width) {}

  const Matrix& X() const { return X_; }
  auto y() const { return y_.col(0); }
  Index n_outputs() const { return y_.cols(); }
  const Matrix& Phi() const { return Phi_; }
  const Matrix& slope() const { return slope_; }
  double temperature() const { return temperature_; }
  double readout_var() const { return readout_var_; }

  /// Features of W, the factor, and the energy; infinite where the factor fails.
  double set(const Matrix& W) {
    features(W);
    const Index side = is_wide_ ? Phi_.rows() : Phi_.cols();
    Matrix C = Matrix::Zero(side, side);
    const numerics::ConstView phi(Phi_);
    numerics::add_gram(is_wide_ ? phi : phi.transpose(), C, scale_);
    C.diagonal().array() += temperature_;
    if (!factor_.compute(C)) return infinity;
    a_ = solve(y_);
    const auto n_outputs = static_cast<double>(y_.cols());
    double log_det = factor_.log_det();
    if (!is_wide_)
      log_det += static_cast<double>(Phi_.rows() - Phi_.cols()) * std::log(temperature_);
    const double energy = 0.5 * (y_.cwiseProduct(a_).sum() + n_outputs * log_det);
    return std::isfinite(energy) ? energy : infinity;
  }

  /// Rows of W, for so many features.
  Index rows_of(Index n_features) const {
    return n_features + static_cast<Index>(below_.size()) * Phi_.cols();
  }

  void features(const Matrix& W) {
    const Index d = X_.cols(), width = Phi_.cols();
    const double root_width = std::sqrt(static_cast<double>(width));
    const Matrix* inputs = &X_;
    Index row = 0, rows = d;
    double scale = 1.0;
    for (Layer& layer : below_) {
      propagate(*inputs, W.middleRows(row, rows), scale, layer.Phi, layer.slope);
      inputs = &layer.Phi;
      row += rows;
      rows = width;
      scale = 1.0 / root_width;
    }
    propagate(*inputs, W.middleRows(row, rows), scale, Phi_, slope_);
  }

  /// C^-1 b, after set.
  Matrix solve(const Matrix& b) const {
    Matrix inner = is_wide_ ? b : Matrix(Phi_.transpose() * b);
    factor_.solve_in_place(inner);
    if (is_wide_) return inner;
    return (b - scale_ * (Phi_ * inner)) / temperature_;
  }

  /// Gradient of the energy in W, after set.
  void gradient(const Matrix& W, Matrix& out) {
    Matrix B = solve_features();
    if (y_.cols() > 1) B *= static_cast<double>(y_.cols());
    B.noalias() -= a_ * (a_.transpose() * Phi_);
    B.array() *= scale_ * slope_.array();
    out.resize(W.rows(), W.cols());
    const Index width = B.cols();
    const double down = 1.0 / std::sqrt(static_cast<double>(width));
    Index row = W.rows();
    for (std::size_t l = below_.size(); l > 0; --l) {  // back through the upper layers
      const Layer& layer = below_[l - 1];
      row -= width;
      numerics::set_product(layer.Phi.transpose(), B, out.middleRows(row, width));
      out.middleRows(row, width) *= down;
      Matrix back(B.rows(), width);
      numerics::set_product(B, W.middleRows(row, width).transpose(), back);
      B = down * back.cwiseProduct(layer.slope);
    }
    numerics::set_product(X_.transpose(), B, out.topRows(X_.cols()));
  }

  /// Measures the weights of the last set.
  ReadOut measure(const Matrix& W, const Matrix& test_X) const {
    ReadOut out;
    const double root_width = std::sqrt(static_cast<double>(Phi_.cols()));
    out.mean = (readout_var_ / root_width) * (Phi_.transpose() * a_);
    const Matrix B = solve_features();  // C^-1 Phi
    out.square = out.mean.transpose() * out.mean;
    out.square.diagonal().array() +=
        readout_var_ * (static_cast<double>(Phi_.cols()) - scale_ * B.cwiseProduct(Phi_).sum());
    const Matrix test = features_of(test_X, W);
    out.f = test * out.mean / root_width;
    const Matrix k = numerics::product(test, Phi_.transpose());  // (n_test, P)
    Matrix kC = is_wide_ ? k : numerics::product(k, Phi_);
    factor_.solve_in_place(kC.transpose());
    if (!is_wide_) kC = (k - scale_ * numerics::product(kC, Phi_.transpose())) / temperature_;
    const Vector variance = scale_ * test.rowwise().squaredNorm() -
                            scale_ * scale_ * kC.cwiseProduct(k).rowwise().sum();
    out.variance = variance.cwiseMax(0.0).replicate(1, y_.cols());
    return out;
  }

 private:
  /// A hidden layer below the last.
  struct Layer {
    Layer(Index n, Index width) : Phi(n, width), slope(n, width) {}
    Matrix Phi, slope;  // (P, width)
  };

  template <class Weights>
  void propagate(const Matrix& inputs, const Weights& W, double scale, Matrix& Phi,
                 Matrix& slope) const {
    numerics::set_product(inputs, W, Phi);
    if (scale != 1.0) Phi *= scale;
    activate(unit_, Phi.size(), Phi.data(), slope.data());
  }

  /// The last hidden layer at other inputs.
  Matrix features_of(const Matrix& inputs, const Matrix& W) const {
    const Index width = Phi_.cols();
    Matrix Phi(inputs.rows(), width), slope(inputs.rows(), width);
    propagate(inputs, W.topRows(X_.cols()), 1.0, Phi, slope);
    const double scale = 1.0 / std::sqrt(static_cast<double>(width));
    for (Index row = X_.cols(); row < W.rows(); row += width) {
      const Matrix below = Phi;
      propagate(below, W.middleRows(row, width), scale, Phi, slope);
    }
    return Phi;
  }

  Matrix solve_features() const {
    Matrix out = Phi_;
    if (is_wide_) {
      factor_.solve_in_place(out);
    } else {
      factor_.solve_in_place(out.transpose());
    }
    return out;
  }

  Matrix X_;  // (P, n_features) over sqrt(n_features)
  Matrix y_;  // (P, n_outputs)
  const HiddenUnit& unit_;
  double temperature_, readout_var_, scale_;
  bool is_wide_;
  std::vector<Layer> below_;
  Matrix Phi_, slope_;  // (P, width)
  numerics::Cholesky factor_;
  Matrix a_;  // C^-1 y
};

/// The prior of the weights: normal about `centre` with variance 1 / precision.
struct Prior {
  Matrix centre;  // (n_features, width)
  double precision = 1.0;

  double energy(const Matrix& W) const { return 0.5 * precision * (W - centre).squaredNorm(); }
};

Matrix normals(const Stream& stream, std::uint64_t first, Index rows, Index cols) {
  Matrix out(rows, cols);
  numerics::fill_normal(stream, first, out.size(), out.data());
  return out;
}

/// Hamiltonian Monte Carlo in Z = sqrt(precision) (W - centre), whose prior is standard normal.
struct Leapfrog {
  Index n_steps;
  bool adapts;  // the step
  Control& control;

  /// Moves W; returns whether the move was accepted. After it, task and W agree.
  template <class Energy>
  bool operator()(Energy& task, const Prior& prior, const Stream& stream, Matrix& W, double& energy,
                  double& step) const {
    double u[2];
    stream.uniform(0, 2, u);
    const double root = std::sqrt(prior.precision), eps = step * (0.8 + 0.4 * u[0]);
    Matrix momentum = normals(stream, 4, W.rows(), W.cols());
    const Matrix before = W;
    const double energy_before = energy;
    const double total_before = energy + 0.5 * momentum.squaredNorm();
    Matrix force;
    const auto kick = [&](double size) {
      task.gradient(W, force);
      momentum -= size * (force / root + root * (W - prior.centre));
    };
    kick(0.5 * eps);
    for (Index i = 0; i < n_steps; ++i) {
      control.check();
      W += (eps / root) * momentum;
      energy = task.set(W);
      if (!std::isfinite(energy)) break;
      kick(i + 1 < n_steps ? eps : 0.5 * eps);
    }
    energy += prior.energy(W);
    const double change = energy + 0.5 * momentum.squaredNorm() - total_before;
    const bool is_accepted = std::log1p(-u[1]) < -change;  // false for NaN
    if (!is_accepted) {
      W = before;
      task.set(W);
      energy = energy_before;
    }
    if (adapts) step *= is_accepted ? grow : shrink;
    return is_accepted;
  }
};

/// One Markov chain of weights.
class Chain {
 public:
  Chain(Task& task, const Schedule& schedule, double step, Control& control)
      : task_(task), schedule_(schedule), control_(control), step_(step) {}

  void start(const Prior& prior, const Stream& stream) {
    prior_ = &prior;
    const Index rows = prior.centre.rows(), width = prior.centre.cols();
    W = prior.centre + normals(stream, 0, rows, width) / std::sqrt(prior.precision);
    v_ = std::sqrt(task_.readout_var()) *
         normals(stream, static_cast<std::uint64_t>(rows * width), width, 1);
    refresh();
  }

  /// One sweep; returns whether it was accepted. After it, task and W agree.
  bool sweep(const Stream& stream, bool adapts) {
    switch (schedule_.method) {
      case Method::hmc:
        return hamiltonian(stream, adapts);
      case Method::gibbs:
        gibbs(stream);
        break;
      case Method::langevin:
        langevin(stream);
        break;
    }
    refresh();
    return true;
  }

  double energy() const { return energy_; }
  double step() const { return step_; }

  Matrix W;  // (n_features, width)

 private:
  void refresh() {
    energy_ = task_.set(W) + prior_->energy(W);
    if (!std::isfinite(energy_))
      throw NumericalError(
          "the sampler met weights of infinite energy; raise the temperature, or "
          "shorten the step of langevin");
  }

  bool hamiltonian(const Stream& stream, bool adapts) {
    const Leapfrog move{schedule_.n_steps, adapts, control_};
    return move(task_, *prior_, stream, W, energy_, step_);
  }

  /// Read-out given weights, then weights given the read-out: the data fix W only through W v.
  void gibbs(const Stream& stream) {
    control_.check();
    const Matrix& X = task_.X();
    const Index n = X.rows(), d = X.cols(), width = W.cols();
    const double root_width = std::sqrt(static_cast<double>(width)),
                 noise = std::sqrt(task_.temperature());
    std::uint64_t word = 0;
    const auto draw = [&](Index rows, Index cols) {
      Matrix out = normals(stream, word, rows, cols);
      word += static_cast<std::uint64_t>(rows * cols);
      return out;
    };
    const Vector v0 = std::sqrt(task_.readout_var()) * draw(width, 1);
    const Vector missing = task_.y() - task_.Phi() * v0 / root_width - noise * Vector(draw(n, 1));
    v_ = v0 + (task_.readout_var() / root_width) *
                  (task_.Phi().transpose() * task_.solve(missing).col(0));
    Matrix prior_W = prior_->centre + draw(d, width) / std::sqrt(prior_->precision);
    const Vector b0 = prior_W * v_ / root_width;
    const double square = v_.squaredNorm();
    const double spread = square / (static_cast<double>(width) * prior_->precision);
    Vector left = task_.y() - X * b0 - noise * Vector(draw(n, 1));
    Matrix C = Matrix::Zero(n, n);
    numerics::add_gram(X, C, spread);
    C.diagonal().array() += task_.temperature();
    numerics::Cholesky factor;
    if (!factor.compute(C))
      throw NumericalError("the conditional law of the weights could not be factored");
    factor.solve_in_place(left);
    const Vector change = spread * (X.transpose() * left);  // b - b0
    W = std::move(prior_W);
    W.noalias() += (root_width / square) * change * v_.transpose();
  }

  void langevin(const Stream& stream) {
    const double root_width = std::sqrt(static_cast<double>(W.cols()));
    const double eta = step_ * task_.temperature(),
                 shake = std::sqrt(2.0 * eta);  // of the log posterior
    std::uint64_t word = 0;
    for (Index i = 0; i < schedule_.n_steps; ++i) {
      control_.check();
      task_.features(W);
      const Vector error = (task_.Phi() * v_ / root_width - task_.y()) / task_.temperature();
      Matrix back = error * v_.transpose() / root_width;
      back.array() *= task_.slope().array();
      force_.resize(W.rows(), W.cols());
      numerics::set_product(task_.X().transpose(), back, force_);
      force_ += prior_->precision * (W - prior_->centre);
      const Vector force_v =
          task_.Phi().transpose() * error / root_width + v_ / task_.readout_var();
      W += shake * normals(stream, word, W.rows(), W.cols()) - eta * force_;
      word += static_cast<std::uint64_t>(W.size());
      v_ += shake * Vector(normals(stream, word, v_.size(), 1)) - eta * force_v;
      word += static_cast<std::uint64_t>(v_.size());
    }
  }

  Task& task_;
  const Schedule& schedule_;
  Control& control_;
  const Prior* prior_ = nullptr;
  double step_, energy_ = 0.0;
  Vector v_;
  Matrix force_;
};

/// The weights of sources and target, the target's last, as combinations of independent parts that
/// are standard normal a priori: the columns of a factor of their prior covariance.
Matrix elastic_factor(const NetworkLaw& law) {
  const auto n = static_cast<Index>(law.source_weights.size());
  Matrix factor = Matrix::Zero(n + 1, n + 1);
  if (n == 1) {  // the common part and the difference
    const double common = std::sqrt(0.5 / law.lam0);
    const double apart = std::sqrt(0.5 / (law.lam0 + 2.0 * law.gamma * law.source_weights[0]));
    factor << common, apart, common, -apart;
    return factor;
  }
  Vector toward(n);
  for (Index s = 0; s < n; ++s) {
    const double weight = law.source_weights[static_cast<std::size_t>(s)];
    const bool is_tied = std::isinf(law.gamma) && weight > 0.0;
    const double pull = is_tied || weight == 0.0 ? 0.0 : law.gamma * weight;
    toward[s] = is_tied ? 1.0 : pull / (law.lam0 + pull);
    factor(s, s + 1) = is_tied ? 0.0 : std::sqrt(1.0 / (law.lam0 + pull));
  }
  factor(n, 0) = std::sqrt(1.0 / (law.lam0 * (1.0 + toward.sum())));
  factor.col(0).head(n) = factor(n, 0) * toward;
  return factor;
}

/// Sources and target whose weights pull each other, all together as a function of their parts.
class Group {
 public:
  Group(std::vector<Task>& sources, Task& target, Matrix factor)
      : W(static_cast<std::size_t>(factor.rows())), factor_(std::move(factor)), on_(W.size()) {
    for (Task& source : sources) tasks_.push_back(&source);
    tasks_.push_back(&target);
  }

  /// The energy of all; infinite where a factor fails.
  double set(const Matrix& parts) {
    const Index n = factor_.rows(), rows = parts.rows() / n;
    double energy = 0.0;
    for (Index a = 0; a < n; ++a) {
      Matrix& own = W[static_cast<std::size_t>(a)];
      own = factor_(a, 0) * parts.topRows(rows);
      for (Index b = 1; b < n; ++b)
        if (factor_(a, b) != 0.0) own += factor_(a, b) * parts.middleRows(b * rows, rows);
      energy += tasks_[static_cast<std::size_t>(a)]->set(own);
    }
    return energy;
  }

  /// Gradient of the energy in all parts, after set.
  void gradient(const Matrix& parts, Matrix& out) {
    const Index n = factor_.rows(), rows = parts.rows() / n;
    out = Matrix::Zero(parts.rows(), parts.cols());
    for (Index a = 0; a < n; ++a) {
      const auto at = static_cast<std::size_t>(a);
      tasks_[at]->gradient(W[at], on_[at]);
      for (Index b = 0; b < n; ++b)
        if (factor_(a, b) != 0.0) out.middleRows(b * rows, rows) += factor_(a, b) * on_[at];
    }
  }

  std::vector<Matrix> W;  // the target's last

 private:
  Matrix factor_;
  std::vector<Task*> tasks_;
  std::vector<Matrix> on_;
};

/// Averages of one target chain.
struct TargetMeans {
  Matrix v, f, second, positive, square;
};

/// A matrix as a row, row by row.
auto flat(const Matrix& m) {
  return Matrix(m.transpose()).reshaped().transpose().eval();
}

/// One chain of networks that pull each other: two independent runs, whose product of means has no
/// bias. A draw is the average over n_thin_source sweeps.
void sample_group(const NetworkLaw& law, const Schedule& schedule, std::vector<Task>& sources,
                  Task& target, const Matrix& test_X, const PhiloxKey& key, Index chain, Draws& out,
                  Control& control) {
  struct Run {
    Matrix parts;
    double energy, step;
    std::uint64_t replica;
  };
  const auto width = static_cast<double>(law.width);
  const auto n_sources = static_cast<Index>(sources.size());
  const Index rows = (n_sources + 1) * target.rows_of(test_X.cols()),
              n_sweeps = schedule.n_thin_source;
  const Prior prior{Matrix::Zero(rows, law.width), 1.0};
  const Leapfrog burn{schedule.n_steps, true, control}, move{schedule.n_steps, false, control};
  Group group(sources, target, elastic_factor(law));
  std::vector<Run> runs;
  for (Index r = 0; r < 2; ++r) {
    Run run{{}, 0.0, schedule.step_size, static_cast<std::uint64_t>(r * schedule.n_chains + chain)};
    run.parts = normals(Stream(key, source_start, run.replica), 0, rows, law.width);
    run.energy = group.set(run.parts) + prior.energy(run.parts);
    if (!std::isfinite(run.energy))
      throw NumericalError("the sampler met weights of infinite energy; raise the temperature");
    for (Index i = 0; i < schedule.n_burn_source; ++i)
      burn(group, prior, Stream(key, source_sweep, run.replica, static_cast<std::uint64_t>(i)),
           run.parts, run.energy, run.step);
    runs.push_back(std::move(run));
  }
  double n_accepted = 0.0;
  const Index K_s = sources.front().n_outputs(), K = target.n_outputs();
  const double scale_s = law.lam1_source / width, scale = law.lam1 / width;
  for (Index k = 0; k < schedule.n_draws; ++k) {
    const Index row = chain * schedule.n_draws + k;
    std::vector<Matrix> Q_s(sources.size(), Matrix::Zero(K_s, K_s)),
        Q_st(sources.size(), Matrix::Zero(K_s, K));
    Matrix Q_t = Matrix::Zero(K, K), second = Matrix::Zero(test_X.rows(), K), positive = second,
           v[2], f[2];
    for (Index r = 0; r < 2; ++r) {
      Run& run = runs[static_cast<std::size_t>(r)];
      v[r] = Matrix::Zero(law.width, K);
      f[r] = Matrix::Zero(test_X.rows(), K);
      group.set(run.parts);
      for (Index i = 0; i < n_sweeps; ++i) {
        const auto at = static_cast<std::uint64_t>(schedule.n_burn_source + k * n_sweeps + i);
        n_accepted += move(group, prior, Stream(key, source_sweep, run.replica, at), run.parts,
                           run.energy, run.step)
                          ? 1.0
                          : 0.0;
        const ReadOut other = target.measure(group.W.back(), test_X);
        Q_t += other.square;
        for (std::size_t s = 0; s < sources.size(); ++s) {
          const ReadOut own = sources[s].measure(group.W[s], test_X.topRows(0));
          Q_s[s] += own.square;
          Q_st[s] += own.mean.transpose() * other.mean;
          if (r > 0) continue;
          const Index trace = static_cast<Index>(s) * schedule.n_chains + chain;
          out.trace_Q_s(trace, k * n_sweeps + i) =
              own.square.trace() * scale_s / static_cast<double>(K_s);
          out.trace_energy(trace, k * n_sweeps + i) = run.energy;
        }
        v[r] += other.mean;
        f[r] += other.f;
        second += other.f.cwiseAbs2() + other.variance;
        positive += other.positive();
      }
    }
    const double share = 1.0 / static_cast<double>(n_sweeps), half = 0.5 * share;
    const Matrix overlap = (share * v[0]).transpose() * (share * v[1]);
    out.Q_t.row(row) = flat(half * scale * Q_t);
    for (Index s = 0; s < n_sources; ++s) {
      const auto at = static_cast<std::size_t>(s);
      out.Q_s.row(row).segment(s * K_s * K_s, K_s * K_s) = flat(half * scale_s * Q_s[at]);
      out.Q_st.row(row).segment(s * K_s * K, K_s * K) =
          flat(half * std::sqrt(scale_s * scale) * Q_st[at]);
    }
    out.Q_tt.row(row) = flat(0.5 * scale * (overlap + overlap.transpose()));
    out.mean_a.row(row) = flat(share * f[0]);
    out.mean_b.row(row) = flat(share * f[1]);
    out.mean_square.row(row) = flat(half * second);
    out.positive.row(row) = flat(half * positive);
    if (k + 1 < schedule.n_draws) control.advance();  // the last is counted with the chain
  }
  out.acceptance_source[chain] = out.acceptance_target[chain] =
      0.5 * n_accepted / static_cast<double>(schedule.n_draws * n_sweeps);
}

void check(const NetworkLaw& law, const Schedule& s) {
  require(law.width >= 1, "width must be at least 1");
  require(law.n_hidden_layers >= 1, "n_hidden_layers must be at least 1");
  require(s.method != Method::gibbs ||
              (law.unit.activation == Activation::linear && law.n_hidden_layers == 1),
          "exact Gibbs sampling needs the linear activation and one hidden layer");
  require(s.method != Method::langevin || law.n_hidden_layers == 1,
          "Langevin sampling needs one hidden layer");
  require(law.unit.activation != Activation::table || law.unit.table.coef.rows() > 0,
          "the activation has no panels");
  require(s.method != Method::langevin ||
              (law.temperature_source > 0.0 && law.temperature_target > 0.0),
          "Langevin sampling needs positive temperatures");
  require(s.n_chains >= 1 && s.n_draws >= 1 && s.n_thin_source >= 1 && s.n_sweeps_target >= 1 &&
              s.n_steps >= 1 && s.n_burn_source >= 0 && s.n_burn_target >= 0,
          "numbers of chains, draws, sweeps and steps must be positive");
  require(s.step_size > 0.0 && std::isfinite(s.step_size), "step_size must be positive and finite");
}

}  // namespace

Draws simulate(const NetworkLaw& law, const Schedule& schedule, const ConstRowMatrixView& source_X,
               const ConstRowMatrixView& source_y, const std::vector<Index>& source_rows,
               const ConstRowMatrixView& target_X, const ConstRowMatrixView& target_y,
               const ConstRowMatrixView& test_X, const PhiloxKey& key, int n_threads,
               Control& control) {
  check(law, schedule);
  require(source_X.cols() == target_X.cols() && target_X.cols() == test_X.cols(),
          "source, target and test differ in the number of features");
  const double whole = std::accumulate(law.source_weights.begin(), law.source_weights.end(), 0.0);
  require(!source_rows.empty() && source_rows.size() == law.source_weights.size(),
          "there must be a weight for every source");
  require(std::accumulate(source_rows.begin(), source_rows.end(), Index{0}) == source_X.rows() &&
              std::all_of(source_rows.begin(), source_rows.end(), [](Index n) { return n >= 0; }),
          "the rows of the sources do not add up");
  require(whole > 0.0 && std::isfinite(whole) &&
              std::all_of(law.source_weights.begin(), law.source_weights.end(),
                          [](double weight) { return weight >= 0.0; }),
          "weights of sources must be from 0 on, and one positive");
  require(source_X.rows() == source_y.rows() && target_X.rows() == target_y.rows(),
          "inputs and labels differ in length");
  const Index K = target_y.cols(), K_s = source_y.cols();
  require(K >= 1 && K_s >= 1, "labels must have at least one output");
  require(schedule.method == Method::hmc || (K == 1 && K_s == 1),
          "several outputs need Hamiltonian Monte Carlo");
  require(!law.is_elastic || schedule.method == Method::hmc,
          "an elastic coupling needs Hamiltonian Monte Carlo");
  const Index n_features = target_X.cols(), n_test = test_X.rows(), n_draws = schedule.n_draws;
  const auto n_sources = static_cast<Index>(source_rows.size());
  const bool is_frozen = std::isinf(law.gamma);
  const auto width = static_cast<double>(law.width);
  Draws out;
  const Index n_rows = schedule.n_chains * n_draws;
  out.Q_s.resize(n_rows, n_sources * K_s * K_s);
  out.Q_st.resize(n_rows, n_sources * K_s * K);
  for (RowMatrix* m : {&out.Q_t, &out.Q_tt}) m->resize(n_rows, K * K);
  for (RowMatrix* m : {&out.mean_a, &out.mean_b, &out.mean_square, &out.positive})
    m->resize(n_rows, n_test * K);
  for (RowMatrix* m : {&out.trace_Q_s, &out.trace_energy})
    m->resize(n_sources * schedule.n_chains, n_draws * schedule.n_thin_source);
  for (Vector* v : {&out.acceptance_source, &out.acceptance_target}) v->setZero(schedule.n_chains);

  const Matrix test_inputs = test_X / std::sqrt(static_cast<double>(n_features));
  const int threads = threads_for(schedule.n_chains, 1, n_threads);
  control.set_total(schedule.n_chains * n_draws);
  parallel_for(schedule.n_chains, threads, control, [&](Index c) {
    const Index L = law.n_hidden_layers;
    std::vector<Task> sources;
    sources.reserve(source_rows.size());
    Index first = 0;
    for (const Index rows : source_rows) {
      sources.emplace_back(law.unit, L, law.lam1_source, law.temperature_source,
                           source_X.middleRows(first, rows), source_y.middleRows(first, rows),
                           law.width);
      first += rows;
    }
    Task target(law.unit, L, law.lam1, law.temperature_target, target_X, target_y, law.width);
    if (law.is_elastic) {
      sample_group(law, schedule, sources, target, test_inputs, key, c, out, control);
      return;
    }
    const Prior source_prior{Matrix::Zero(target.rows_of(n_features), law.width), law.lam0};
    const auto replica = static_cast<std::uint64_t>(c);
    const auto replica_of = [&](Index s) {
      return static_cast<std::uint64_t>(s * schedule.n_chains + c);
    };
    std::vector<Chain> chains;
    chains.reserve(sources.size());
    for (Index s = 0; s < n_sources; ++s) {
      Chain& chain = chains.emplace_back(sources[static_cast<std::size_t>(s)], schedule,
                                         schedule.step_size, control);
      chain.start(source_prior, Stream(key, source_start, replica_of(s)));
      for (Index i = 0; i < schedule.n_burn_source; ++i)
        chain.sweep(Stream(key, source_sweep, replica_of(s), static_cast<std::uint64_t>(i)), true);
    }
    auto n_sweeps = static_cast<std::uint64_t>(schedule.n_burn_source);
    std::uint64_t n_target = 0;
    double target_step = schedule.step_size;
    Prior prior;
    prior.precision = law.lam0 + law.gamma * whole;
    const auto pull = [&](double weight) {
      return is_frozen ? weight / whole : law.gamma * weight / prior.precision;
    };

    for (Index k = 0; k < n_draws; ++k) {
      std::vector<ReadOut> own(sources.size());
      Matrix centre;
      for (Index s = 0; s < n_sources; ++s) {
        const auto at = static_cast<std::size_t>(s);
        Chain& chain = chains[at];
        const Index trace = s * schedule.n_chains + c, start = k * schedule.n_thin_source;
        for (Index i = 0; i < schedule.n_thin_source; ++i) {
          const Stream stream(key, source_sweep, replica_of(s),
                              n_sweeps + static_cast<std::uint64_t>(i));
          out.acceptance_source[c] += chain.sweep(stream, false) ? 1.0 : 0.0;
          own[at] = sources[at].measure(chain.W, test_inputs.topRows(0));
          out.trace_Q_s(trace, start + i) =
              own[at].square.trace() * law.lam1_source / (width * static_cast<double>(K_s));
          out.trace_energy(trace, start + i) = chain.energy();
        }
        if (s == 0)
          centre = pull(law.source_weights[at]) * chain.W;
        else
          centre += pull(law.source_weights[at]) * chain.W;
      }
      n_sweeps += static_cast<std::uint64_t>(schedule.n_thin_source);
      TargetMeans runs[2];
      if (is_frozen) {
        if (!std::isfinite(target.set(centre)))
          throw NumericalError("the frozen features are singular; raise temperature_target");
        const ReadOut r = target.measure(centre, test_inputs);
        for (TargetMeans& run : runs)
          run = {r.mean, r.f, r.f.cwiseAbs2() + r.variance, r.positive(), r.square};
        out.acceptance_target[c] += 1.0;
      } else {
        prior.centre = centre;
        for (TargetMeans& run : runs) {
          Chain walker(target, schedule, target_step, control);
          walker.start(prior, Stream(key, target_start, replica, n_target));
          for (Index i = 0; i < schedule.n_burn_target; ++i)
            walker.sweep(Stream(key, target_sweep, replica, n_target++), true);
          run = {Matrix::Zero(law.width, K), Matrix::Zero(n_test, K), Matrix::Zero(n_test, K),
                 Matrix::Zero(n_test, K), Matrix::Zero(K, K)};
          double accepted = 0.0;
          for (Index i = 0; i < schedule.n_sweeps_target; ++i) {
            accepted += walker.sweep(Stream(key, target_sweep, replica, n_target++), false);
            const ReadOut r = target.measure(walker.W, test_inputs);
            run.v += r.mean;
            run.f += r.f;
            run.second += r.f.cwiseAbs2() + r.variance;
            run.positive += r.positive();
            run.square += r.square;
          }
          const double share = 1.0 / static_cast<double>(schedule.n_sweeps_target);
          run = {run.v * share, run.f * share, run.second * share, run.positive * share,
                 run.square * share};
          out.acceptance_target[c] += 0.5 * accepted * share;
          target_step = walker.step();
        }
      }
      const Index row = c * n_draws + k;
      out.Q_t.row(row) = flat(0.5 * law.lam1 / width * (runs[0].square + runs[1].square));
      const Matrix overlap = runs[0].v.transpose() * runs[1].v;
      out.Q_tt.row(row) = flat(0.5 * law.lam1 / width * (overlap + overlap.transpose()));
      for (Index s = 0; s < n_sources; ++s) {
        const ReadOut& r = own[static_cast<std::size_t>(s)];
        out.Q_s.row(row).segment(s * K_s * K_s, K_s * K_s) =
            flat(law.lam1_source / width * r.square);
        out.Q_st.row(row).segment(s * K_s * K, K_s * K) =
            flat(0.5 * std::sqrt(law.lam1_source * law.lam1) / width *
                 (r.mean.transpose() * (runs[0].v + runs[1].v)));
      }
      out.mean_a.row(row) = flat(runs[0].f);
      out.mean_b.row(row) = flat(runs[1].f);
      out.mean_square.row(row) = flat(0.5 * (runs[0].second + runs[1].second));
      out.positive.row(row) = flat(0.5 * (runs[0].positive + runs[1].positive));
      if (k + 1 < n_draws) control.advance();  // the last is counted with the chain
    }
    out.acceptance_source[c] /= static_cast<double>(n_sources * n_draws * schedule.n_thin_source);
    out.acceptance_target[c] /= static_cast<double>(n_draws);
  });
  return out;
}

EnergyGradient collapsed_energy(const HiddenUnit& unit, Index n_hidden_layers, double lam1,
                                double temperature, const ConstRowMatrixView& X,
                                const ConstVectorView& y, const ConstRowMatrixView& W) {
  require(n_hidden_layers >= 1, "n_hidden_layers must be at least 1");
  require(unit.activation != Activation::table || unit.table.coef.rows() > 0,
          "the activation has no panels");
  const RowMatrix labels = y;
  Task task(unit, n_hidden_layers, lam1, temperature, X, labels, W.rows());
  require(X.rows() == y.size() && task.rows_of(X.cols()) == W.cols(), "X, y and W differ in shape");
  const Matrix weights = W.transpose();
  const double energy = task.set(weights);
  if (!std::isfinite(energy)) throw NumericalError("the covariance of the labels is singular");
  Matrix gradient;
  task.gradient(weights, gradient);
  return {energy, gradient.transpose()};
}

}  // namespace retemper::widenet

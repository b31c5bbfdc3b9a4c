#include "retemper/perceptron/infer.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <limits>
#include <type_traits>
#include <utility>

#include "retemper/core/error.hpp"
#include "retemper/core/parallel.hpp"
#include "retemper/core/prefetch.hpp"
#include "retemper/numerics/lanes.hpp"
#include "retemper/numerics/linalg.hpp"
#include "retemper/numerics/normal_stream.hpp"
#include "retemper/numerics/vector_math.hpp"

namespace retemper::perceptron {

namespace {

namespace vm = numerics::vm;

constexpr Index largest_block = 64;
constexpr double smallest_V = 1e-14;

constexpr Index most_vectors = 4;  // problems up to which matrix-vector products are faster

/// Rows of one block: for few problems it and the next one stay in the second-level cache, for many
/// they amortise the packing of a matrix product.
Index block_rows(Index n_features, Index n_problems) {
  Index rows = largest_block;
  if (n_problems <= most_vectors)
    while (rows > 8 && rows * n_features > 32768) rows /= 2;
  return rows;
}

constexpr Index together = 8;  // rows that share one load of w

/// z[i] = x_i . w for `together` rows from X on.
template <class Real>
void dot_rows(const Real* X, Index n_features, const double* w, double* z) {
  double a = 0, b = 0, c = 0, d = 0, e = 0, f = 0, g = 0, h = 0;
  const Index n = n_features;
#pragma omp simd reduction(+ : a, b, c, d, e, f, g, h)
  for (Index j = 0; j < n; ++j) {
    a += static_cast<double>(X[j]) * w[j];
    b += static_cast<double>(X[n + j]) * w[j];
    c += static_cast<double>(X[2 * n + j]) * w[j];
    d += static_cast<double>(X[3 * n + j]) * w[j];
    e += static_cast<double>(X[4 * n + j]) * w[j];
    f += static_cast<double>(X[5 * n + j]) * w[j];
    g += static_cast<double>(X[6 * n + j]) * w[j];
    h += static_cast<double>(X[7 * n + j]) * w[j];
  }
  const std::array<double, together> sums{a, b, c, d, e, f, g, h};
  std::copy(sums.begin(), sums.end(), z);
}

/// B += sum_i z[i] x_i over the same rows.
template <class Real>
void add_rows(const Real* X, Index n_features, const double* z, double* B) {
  const Index n = n_features;
  // Copies: a store to B could change what z points to.
  const double a = z[0], b = z[1], c = z[2], d = z[3], e = z[4], f = z[5], g = z[6], h = z[7];
#pragma omp simd
  for (Index j = 0; j < n; ++j)
    B[j] += ((a * static_cast<double>(X[j]) + b * static_cast<double>(X[n + j])) +
             (c * static_cast<double>(X[2 * n + j]) + d * static_cast<double>(X[3 * n + j]))) +
            ((e * static_cast<double>(X[4 * n + j]) + f * static_cast<double>(X[5 * n + j])) +
             (g * static_cast<double>(X[6 * n + j]) + h * static_cast<double>(X[7 * n + j])));
}

/// The same for X, which is in cache, and z_next = x_i . w for as many rows from `next` on, which
/// come from memory: in one loop, so that memory never rests. The rows from `later` on are asked
/// for meanwhile, line by line: along so many rows a processor by itself does not look far enough.
template <class Real>
void add_and_dot(const Real* X, const Real* next, const Real* later, Index n_features,
                 const double* z, const double* w, double* B, double* z_next) {
  using numerics::lanes::load, numerics::lanes::store, numerics::lanes::Wide, numerics::lanes::sum;
  constexpr Index line = 64 / static_cast<Index>(sizeof(Real)), soon = 6 * line;
  const Index n = n_features;
  const double ra = z[0], rb = z[1], rc = z[2], rd = z[3];
  const double re = z[4], rf = z[5], rg = z[6], rh = z[7];
  Wide a{}, b{}, c{}, d{}, e{}, f{}, g{}, h{};
  const auto register_at = [&](Index j) {
    store(load(B + j) + (((ra * load(X + j) + rb * load(X + n + j)) +
                          (rc * load(X + 2 * n + j) + rd * load(X + 3 * n + j))) +
                         ((re * load(X + 4 * n + j) + rf * load(X + 5 * n + j)) +
                          (rg * load(X + 6 * n + j) + rh * load(X + 7 * n + j)))),
          B + j);
    const Wide by = load(w + j);
    a += load(next + j) * by;
    b += load(next + n + j) * by;
    c += load(next + 2 * n + j) * by;
    d += load(next + 3 * n + j) * by;
    e += load(next + 4 * n + j) * by;
    f += load(next + 5 * n + j) * by;
    g += load(next + 6 * n + j) * by;
    h += load(next + 7 * n + j) * by;
  };
  Index j = 0;
  while (j + line <= n) {
    for (Index i = 0; i < together; ++i) {
      prefetch_to_read_later(later + i * n + j);
      prefetch_to_read(next + i * n + j + soon);
    }
    for (const Index end = j + line; j < end; j += numerics::lanes::size) register_at(j);
  }
  for (; j + numerics::lanes::size <= n; j += numerics::lanes::size) register_at(j);
  std::array<double, together> sums{sum(a), sum(b), sum(c), sum(d), sum(e), sum(f), sum(g), sum(h)};
  for (; j < n; ++j) {
    B[j] += ((ra * static_cast<double>(X[j]) + rb * static_cast<double>(X[n + j])) +
             (rc * static_cast<double>(X[2 * n + j]) + rd * static_cast<double>(X[3 * n + j]))) +
            ((re * static_cast<double>(X[4 * n + j]) + rf * static_cast<double>(X[5 * n + j])) +
             (rg * static_cast<double>(X[6 * n + j]) + rh * static_cast<double>(X[7 * n + j])));
    for (Index i = 0; i < together; ++i)
      sums[static_cast<std::size_t>(i)] += static_cast<double>(next[i * n + j]) * w[j];
  }
  std::copy(sums.begin(), sums.end(), z_next);
}

/// z = X w for the rows of one block.
template <class Real>
void fields(const Real* X, Index n_rows, Index n_features, const double* w, double* z) {
  Index i = 0;
  for (; i + together <= n_rows; i += together) dot_rows(X + i * n_features, n_features, w, z + i);
  for (; i < n_rows; ++i) {
    double sum = 0.0;
    for (Index j = 0; j < n_features; ++j) sum += static_cast<double>(X[i * n_features + j]) * w[j];
    z[i] = sum;
  }
}

/// B += X' z for the rows of one block.
template <class Real>
void add_scores(const Real* X, Index n_rows, Index n_features, const double* z, double* B) {
  Index i = 0;
  for (; i + together <= n_rows; i += together) add_rows(X + i * n_features, n_features, z + i, B);
  for (; i < n_rows; ++i)
    for (Index j = 0; j < n_features; ++j)
      B[j] += z[i] * static_cast<double>(X[i * n_features + j]);
}

/// One pass over the rows: Z = X W block by block, each(chunk, first row, Z) overwrites Z, and the
/// result is X' Z. The chunks are a function of the shape alone, and are summed in order.
/// W: (n_features, n) column-major; each block of Z: (rows, n).
class Sweep {
 public:
  Sweep(const Rows& rows, Index n_problems, int n_threads)
      : rows_(rows), block_(block_rows(rows.n_features, n_problems)) {
    n_blocks_ = (rows.n_rows + block_ - 1) / block_;
    n_chunks_ = std::clamp<Index>(n_blocks_ / 8, 1, 16);
    constexpr Index grain = Index{1} << 23;  // products per pass that pay for one more thread
    n_threads_ = threads_for(rows.n_rows * rows.n_features * n_problems, grain, n_threads);
  }
  Index n_chunks() const { return n_chunks_; }

  template <class Each>
  Matrix operator()(const Matrix& W, Control& control, Each&& each) const {
    return rows_.wide ? run(rows_.wide, W, control, each) : run(rows_.narrow, W, control, each);
  }

 private:
  template <class Real, class Each>
  Matrix run(const Real* X, const Matrix& W, Control& control, Each& each) const {
    std::vector<Matrix> partial(static_cast<std::size_t>(n_chunks_));
    parallel_for(n_chunks_, n_threads_, control, [&](Index chunk) {
      const Index n = rows_.n_features;
      const Index n_vectors = W.cols();
      Matrix& B = partial[static_cast<std::size_t>(chunk)];
      B = Matrix::Zero(n, n_vectors);
      const Index start = chunk * n_blocks_ / n_chunks_;
      const Index end = (chunk + 1) * n_blocks_ / n_chunks_;
      if (n_vectors <= most_vectors) {
        run_vectors(X, W, start, end, control, B,
                    [&](Index first, Index count, Matrix& Z) { each(chunk, first, count, Z); });
        return;
      }
      Matrix Z(block_, n_vectors);
      for (Index block = start; block < end; ++block) {
        control.check();
        const Index first = block * block_, count = rows_of(block);
        using Stored = Eigen::Matrix<Real, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
        const Eigen::Map<const Stored> stored(X + first * n, count, n);
        const auto multiply = [&](const auto& x) {
          numerics::set_product(x, W, Z.topRows(count));
          each(chunk, first, count, Z);
          numerics::add_product(x.transpose(), Z.topRows(count), B);
        };
        if constexpr (std::is_same_v<Real, double>) {
          multiply(stored);
        } else {
          multiply(RowMatrix(stored.template cast<double>()));
        }
      }
    });
    for (Index c = 1; c < n_chunks_; ++c) partial[0] += partial[static_cast<std::size_t>(c)];
    return std::move(partial[0]);
  }

  /// The blocks [start, end) one vector after the other, the products of a block and those of the
  /// next in one loop where both are whole.
  template <class Real, class Each>
  void run_vectors(const Real* X, const Matrix& W, Index start, Index end, Control& control,
                   Matrix& B, Each&& each) const {
    const Index n = rows_.n_features, n_vectors = W.cols(), last = rows_.n_rows - together;
    Matrix Z(block_, n_vectors), Z_next(block_, n_vectors);
    for (Index v = 0; v < n_vectors; ++v)
      fields(X + start * block_ * n, rows_of(start), n, W.col(v).data(), Z.col(v).data());
    for (Index block = start; block < end; ++block) {
      control.check();
      const Index count = rows_of(block), n_next = block + 1 < end ? rows_of(block + 1) : 0;
      const Real *from = X + block * block_ * n, *next = from + count * n;
      each(block * block_, count, Z);
      for (Index v = 0; v < n_vectors; ++v) {
        const double *w = W.col(v).data(), *z = Z.col(v).data();
        double *b = B.col(v).data(), *z_next = Z_next.col(v).data();
        if (n_next == block_) {
          for (Index i = 0; i < block_; i += together) {
            const Index later = std::min((block + 1) * block_ + i + together, last);
            add_and_dot(from + i * n, next + i * n, X + later * n, n, z + i, w, b, z_next + i);
          }
        } else {
          add_scores(from, count, n, z, b);
          fields(next, n_next, n, w, z_next);
        }
      }
      Z.swap(Z_next);
    }
  }

  Index rows_of(Index block) const { return std::min(block_, rows_.n_rows - block * block_); }

  const Rows& rows_;
  Index block_, n_blocks_ = 0, n_chunks_ = 1;
  int n_threads_ = 1;
};

/// Where a problem stands; as in AmpRuns.
struct Report {
  double V = 1.0, free_entropy = 0.0, residual = 0.0, damping = 0.0;
  Index n_iter = 0;
  Status status = Status::converged;
};

/// A problem under way.
struct State {
  State(const AmpProblem& problem, Index n_rows, double first_damping)
      : channel{Channel(problem.law, RowKind::negative), Channel(problem.law, RowKind::unlabelled),
                Channel(problem.law, RowKind::positive)},
        prior(problem.prior),
        role(problem.role),
        truth(problem.truth),
        g(Vector::Zero(n_rows)),
        onsager(Vector::Zero(n_rows)) {
    report.damping = first_damping;
  }
  const Channel& of(std::int8_t r) const { return channel[static_cast<std::size_t>(r + 1)]; }

  std::array<Channel, 3> channel;
  Prior prior;
  const std::int8_t* role;
  const double* truth;
  std::vector<double> cosine;  // with the truth, after every iteration
  Vector w;                    // posterior mean
  Vector g, onsager;  // of every row: score at the last iteration, and what it takes off its
  double keep = 1.0;  // field: keep * onsager + gain * g. Damped as w is: with the full V g
  double gain = 0.0;  // instead, damping itself makes the iteration oscillate.
  Vector step;        // the last undamped step
  Report report;
  // best iterate so far, to restart from
  Vector best_w, best_onsager;
  double best_V = 1.0, best_residual = std::numeric_limits<double>::infinity();
  std::vector<double> history;  // residuals since the last restart
  Index n_alternating = 0;      // among the last steps
  bool is_done = false;
};

struct BlockSums {
  double dg = 0.0, free_entropy = 0.0;
};

/// Fields of one block and problem in, scores out; n <= largest_block.
BlockSums score_block(State& s, Index first, Index n, double scale, double* z, double* field_mean) {
  alignas(64) std::array<double, largest_block> mean, log_w, g, dg;
  std::array<Index, largest_block> place;
  const double V = s.report.V;
  BlockSums sums;
  for (const Role kind : {Role::negative, Role::unlabelled, Role::positive}) {
    const double y = kind == Role::negative ? -1.0 : 1.0;
    Index count = 0;
    for (Index i = 0; i < n; ++i)
      if (s.role[first + i] == kind) {
        double& own = s.onsager[first + i];
        own = s.keep * own + s.gain * s.g[first + i];
        const double field = scale * z[i] - own;
        mean[static_cast<std::size_t>(count)] = y * field;
        place[static_cast<std::size_t>(count++)] = i;
        field_mean[first + i] = field;
      }
    if (count == 0) continue;
    std::fill(mean.begin() + count, mean.begin() + padded(count), 0.0);
    s.of(kind).score(mean.data(), V, padded(count), log_w.data(), g.data(), dg.data());
    for (Index k = 0; k < count; ++k) {
      const std::size_t at = static_cast<std::size_t>(k);
      const Index i = place[at];
      z[i] = s.g[first + i] = y * g[at];
      sums.dg += dg[at];
      sums.free_entropy += log_w[at] + 0.5 * V * g[at] * g[at];
    }
  }
  return sums;
}

/// The posterior mean and variance from the field B, and the prior's part of the free entropy.
struct PriorUpdate {
  Vector w;
  double V, free_entropy;
};

PriorUpdate update_prior(Prior prior, const Vector& B, double V_old) {
  const Index n = B.size();
  const double per_feature = 1.0 / static_cast<double>(n);
  PriorUpdate out{Vector(n), 1.0, 0.0};
  if (prior == Prior::sphere) {
    const double u = 0.5 * (1.0 + std::sqrt(1.0 + 4.0 * B.squaredNorm() * per_feature));
    out.w = B / u;
    out.V = std::max(1.0 / u, smallest_V);
    out.free_entropy = 0.5 * std::log(V_old);
    return out;
  }
  double V = 0.0, entropy = 0.0, *w = out.w.data();
  const double* field = B.data();
#pragma omp simd reduction(+ : V, entropy)
  for (Index i = 0; i < n; ++i) {
    const double size = std::fabs(field[i]);
    const double e = vm::exp(-2.0 * size);
    const double inverse = 1.0 / (1.0 + e);
    const double t = (1.0 - e) * inverse;
    w[i] = std::copysign(t, field[i]);
    V += 4.0 * e * inverse * inverse;
    // ln cosh B - B tanh B = |B| (1 - tanh |B|) + ln((1 + e) / 2)
    entropy += size * 2.0 * e * inverse + vm::log(0.5 * (1.0 + e));
  }
  out.V = std::max(V * per_feature, smallest_V);
  out.free_entropy = entropy * per_feature;
  return out;
}

constexpr std::array<double, 3> dampings{0.5, 0.8, 0.95};

/// Judges the step just proposed, then takes it, restarts with more damping, or stops.
void advance(State& s, PriorUpdate next, const IterationLimits& limits) {
  Report& r = s.report;
  ++r.n_iter;
  const double n = static_cast<double>(s.w.size());
  const double size = next.w.norm();
  Vector step = next.w - s.w;
  r.residual = size > 0.0 ? step.norm() / size : s.w.norm();
  const bool is_zero = size * size < 1e-10 * n && s.w.squaredNorm() < 1e-10 * n;
  if (is_zero) r.residual = 0.0;
  if (r.residual <= limits.tol) {
    s.w = std::move(next.w);
    r.V = next.V;
    s.is_done = true;
    return;
  }
  if (r.residual < s.best_residual) {
    s.best_residual = r.residual;
    s.best_w = s.w;
    s.best_onsager = s.onsager;
    s.best_V = r.V;
  }
  const bool alternates = s.step.size() == step.size() && s.step.dot(step) < 0.0;
  s.n_alternating = alternates ? s.n_alternating + 1 : 0;
  s.history.push_back(r.residual);
  const std::size_t age = s.history.size();
  if (age > 10 && s.n_alternating >= 10 && r.residual >= s.history[age - 11]) {
    const bool can_damp = dampings.back() > r.damping;
    if (!can_damp) {
      r.status = Status::stalled;
      s.is_done = true;
      return;
    }
    r.damping = *std::upper_bound(dampings.begin(), dampings.end(), r.damping);
    s.w = s.best_w;
    s.onsager = s.best_onsager;
    s.keep = 1.0;
    s.gain = 0.0;
    r.V = s.best_V;
    s.step.resize(0);
    s.history.clear();
    s.n_alternating = 0;
  } else {
    const double d = r.damping;
    s.w = d * s.w + (1.0 - d) * next.w;
    s.keep = d;
    s.gain = (1.0 - d) * next.V;
    r.V = d * r.V + (1.0 - d) * next.V;
    s.step = std::move(step);
  }
  if (r.n_iter >= limits.max_iter) {
    r.status = Status::max_iter;
    s.is_done = true;
  }
}

}  // namespace

AmpRuns amp(const Rows& rows, const std::vector<AmpProblem>& problems,
            const ConstRowMatrixView& start, const IterationLimits& limits, int n_threads,
            Control& control) {
  const Index n_rows = rows.n_rows, n_features = rows.n_features;
  const Index n_problems = static_cast<Index>(problems.size());
  require(n_rows >= 1 && n_features >= 1, "there must be rows and features");
  require(start.rows() == n_problems && start.cols() == n_features,
          "start must have shape (n_problems, n_features)");
  require(limits.damping >= 0.0 && limits.damping < 1.0, "damping must lie in [0, 1)");
  const double n = static_cast<double>(n_features);
  const double scale = 1.0 / std::sqrt(n);
  std::vector<State> states;
  states.reserve(problems.size());
  for (Index p = 0; p < n_problems; ++p) {
    State s(problems[static_cast<std::size_t>(p)], n_rows, limits.damping);
    s.w = start.row(p).transpose();
    s.report.V = std::max(1.0 - s.w.squaredNorm() / n, smallest_V);
    require(s.w.squaredNorm() <= n * (1.0 + 1e-9), "|w|^2 must not exceed n_features");
    states.push_back(std::move(s));
  }
  AmpRuns out{start,
              RowMatrix::Zero(n_problems, n_rows),
              Vector(n_problems),
              Vector(n_problems),
              Vector(n_problems),
              Vector(n_problems),
              {},
              {},
              {}};
  const Sweep sweep(rows, n_problems, n_threads);

  std::vector<Index> active(problems.size());
  for (std::size_t p = 0; p < active.size(); ++p) active[p] = static_cast<Index>(p);
  control.set_total(limits.max_iter);
  for (Index iteration = 0; iteration < limits.max_iter && !active.empty(); ++iteration) {
    const Index n_active = static_cast<Index>(active.size());
    const auto state = [&](Index a) -> State& {
      return states[static_cast<std::size_t>(active[static_cast<std::size_t>(a)])];
    };
    Matrix W(n_features, n_active);
    for (Index a = 0; a < n_active; ++a) W.col(a) = state(a).w;
    std::vector<BlockSums> sums(static_cast<std::size_t>(sweep.n_chunks() * n_active));
    const Matrix XtG = sweep(W, control, [&](Index chunk, Index first, Index count, Matrix& Z) {
      for (Index a = 0; a < n_active; ++a) {
        State& s = state(a);
        double* fields = out.field_mean.row(active[static_cast<std::size_t>(a)]).data();
        const BlockSums block = score_block(s, first, count, scale, &Z(0, a), fields);
        BlockSums& total = sums[static_cast<std::size_t>(chunk * n_active + a)];
        total.dg += block.dg;
        total.free_entropy += block.free_entropy;
      }
    });
    for (Index a = 0; a < n_active; ++a) {
      State& s = state(a);
      BlockSums total;
      for (Index c = 0; c < sweep.n_chunks(); ++c) {
        const BlockSums& part = sums[static_cast<std::size_t>(c * n_active + a)];
        total.dg += part.dg;
        total.free_entropy += part.free_entropy;
      }
      const Vector B = scale * XtG.col(a) - (total.dg / n) * s.w;  // eq. A, B of section 5
      PriorUpdate next = update_prior(s.prior, B, s.report.V);
      if (!next.w.allFinite() || !std::isfinite(total.free_entropy))
        throw NumericalError("message passing overflowed: the fields are too large for this law");
      s.report.free_entropy = next.free_entropy + total.free_entropy / n;
      advance(s, std::move(next), limits);
      if (s.truth) {
        const Eigen::Map<const Vector> truth(s.truth, n_features);
        const double size = s.w.norm() * truth.norm();
        s.cosine.push_back(size > 0.0 ? s.w.dot(truth) / size : 0.0);
      }
    }
    active.erase(
        std::remove_if(active.begin(), active.end(),
                       [&](Index p) { return states[static_cast<std::size_t>(p)].is_done; }),
        active.end());
    control.advance();
  }
  for (Index p = 0; p < n_problems; ++p) {
    State& s = states[static_cast<std::size_t>(p)];
    out.weights.row(p) = s.w.transpose();
    out.variance[p] = s.report.V;
    out.free_entropy[p] = s.report.free_entropy;
    out.residual[p] = s.report.residual;
    out.damping[p] = s.report.damping;
    out.n_iter.push_back(s.report.n_iter);
    out.status.push_back(s.report.status);
    out.cosine.push_back(std::move(s.cosine));
  }
  return out;
}

LeadingDirection leading_direction(const Rows& rows, const std::uint8_t* use, Index max_steps,
                                   double tol, const PhiloxKey& key, int n_threads,
                                   Control& control) {
  const Index n = rows.n_features;
  double n_used = 0.0;
  for (Index i = 0; i < rows.n_rows; ++i) n_used += use[i] ? 1.0 : 0.0;
  require(n_used > 0.0, "no row is used");
  const Index steps = std::min(max_steps, n);
  const Sweep sweep(rows, 1, n_threads);
  Matrix basis(n, steps + 1);
  Vector start(n);
  numerics::fill_normal(Stream(key, 0), 0, n, start.data());
  basis.col(0) = start.normalized();
  Vector diagonal(steps), beside(steps);
  LeadingDirection out;
  for (Index k = 0; k < steps; ++k) {
    Vector v = sweep(basis.col(k), control,
                     [&](Index, Index first, Index count, Matrix& Z) {
                       for (Index i = 0; i < count; ++i)
                         if (!use[first + i]) Z(i, 0) = 0.0;
                     })
                   .col(0) /
               n_used;
    diagonal[k] = basis.col(k).dot(v);
    for (int twice = 0; twice < 2; ++twice) {
      const Vector overlap = basis.leftCols(k + 1).transpose() * v;
      v -= basis.leftCols(k + 1) * overlap;
    }
    beside[k] = v.norm();
    const numerics::SymmetricEigen ritz =
        numerics::tridiagonal_eigen(diagonal.head(k + 1), beside.head(k), true);
    out.eigenvalue = ritz.values[k];
    const Vector last = ritz.vectors.col(k);
    out.residual = std::abs(beside[k] * last[k]);
    if (out.residual <= tol * out.eigenvalue || k + 1 == steps || beside[k] <= 1e-14) {
      out.direction = (basis.leftCols(k + 1) * last).normalized();
      break;
    }
    basis.col(k + 1) = v / beside[k];
  }
  return out;
}

}  // namespace retemper::perceptron

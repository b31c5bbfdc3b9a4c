#include "retemper/perceptron/infer.hpp"

#include <Eigen/Eigenvalues>
#include <algorithm>
#include <array>
#include <cmath>
#include <string>

#include "retemper/core/error.hpp"
#include "retemper/core/parallel.hpp"
#include "retemper/numerics/normal_stream.hpp"
#include "retemper/numerics/vector_math.hpp"

namespace retemper::perceptron {

namespace {

namespace vm = numerics::vm;

constexpr Index largest_block = 64;
constexpr double smallest_V = 1e-14;

/// Rows of one block: what fits twice into a second-level cache of half a megabyte.
Index block_rows(Index n_features) {
  Index rows = largest_block;
  while (rows > 4 && rows * n_features > 32768) rows /= 2;
  return rows;
}

/// The rows [first, first + n) as doubles; `copy` holds them if they are stored narrow.
const double* block_of(const Rows& rows, Index first, Index n, Vector& copy) {
  if (rows.wide) return rows.wide + first * rows.n_features;
  const float* from = rows.narrow + first * rows.n_features;
  double* to = copy.data();
  for (Index i = 0; i < n * rows.n_features; ++i) to[i] = static_cast<double>(from[i]);
  return to;
}

/// One pass over the rows: Z = X W block by block, each(chunk, first row, Z) overwrites Z, and the
/// result is X' Z. The chunks are a function of the shape alone, and are summed in order.
/// W: (n_features, n) column-major; each block of Z: (rows, n).
class Sweep {
 public:
  Sweep(const Rows& rows, int n_threads) : rows_(rows), block_(block_rows(rows.n_features)) {
    n_blocks_ = (rows.n_rows + block_ - 1) / block_;
    n_chunks_ = std::clamp<Index>(n_blocks_ / 8, 1, 16);
    n_threads_ = static_cast<int>(std::min<Index>(n_threads, n_chunks_));
  }
  Index n_chunks() const { return n_chunks_; }

  template <class Each>
  Matrix operator()(const Matrix& W, Control& control, Each&& each) const {
    std::vector<Matrix> partial(static_cast<std::size_t>(n_chunks_));
    parallel_for(n_chunks_, n_threads_, control, [&](Index chunk) {
      Matrix& B = partial[static_cast<std::size_t>(chunk)];
      B = Matrix::Zero(W.rows(), W.cols());
      Matrix Z(block_, W.cols());
      Vector copy(rows_.wide ? 0 : block_ * rows_.n_features);
      const Index begin = chunk * n_blocks_ / n_chunks_;
      const Index end = (chunk + 1) * n_blocks_ / n_chunks_;
      for (Index b = begin; b < end; ++b) {
        control.check();
        const Index first = b * block_;
        const Index n = std::min(block_, rows_.n_rows - first);
        const Eigen::Map<const RowMatrix> X(block_of(rows_, first, n, copy), n, W.rows());
        auto z = Z.topRows(n);
        if (W.cols() == 1) {  // matrix-vector products
          z.col(0).noalias() = X * W.col(0);
          each(chunk, first, z);
          B.col(0).noalias() += X.transpose() * z.col(0);
        } else {
          z.noalias() = X * W;
          each(chunk, first, z);
          B.noalias() += X.transpose() * z;
        }
      }
    });
    for (Index c = 1; c < n_chunks_; ++c) partial[0] += partial[static_cast<std::size_t>(c)];
    return std::move(partial[0]);
  }

 private:
  const Rows& rows_;
  Index block_, n_blocks_ = 0, n_chunks_ = 1;
  int n_threads_ = 1;
};

/// A problem under way.
struct State {
  State(const AmpProblem& problem, Index n_rows, double first_damping)
      : channel{Channel(problem.law, RowKind::negative), Channel(problem.law, RowKind::unlabelled),
                Channel(problem.law, RowKind::positive)},
        prior(problem.prior),
        role(problem.role),
        g(Vector::Zero(n_rows)) {
    report.damping = first_damping;
  }
  const Channel& of(std::int8_t r) const { return channel[static_cast<std::size_t>(r + 1)]; }

  std::array<Channel, 3> channel;
  Prior prior;
  const std::int8_t* role;
  Vector w, g;  // posterior mean; score of every row at the last iteration
  Vector step;  // the last undamped step
  AmpReport report;
  // best iterate so far, to restart from
  Vector best_w, best_g;
  double best_V = 1.0, best_residual = std::numeric_limits<double>::infinity();
  std::vector<double> history;  // residuals since the last restart
  Index n_alternating = 0;      // among the last steps
  int n_restarts = 0;
  bool is_done = false;
};

struct BlockSums {
  double dg = 0.0, free_entropy = 0.0;
};

/// Fields of one block and problem in, scores out; n <= largest_block.
BlockSums score_block(State& s, Index first, Index n, double scale, double* z, double* omega_out) {
  alignas(64) std::array<double, largest_block> omega, log_w, g, dg;
  std::array<Index, largest_block> place;
  const double V = s.report.V;
  BlockSums sums;
  for (const Role kind : {Role::negative, Role::unlabelled, Role::positive}) {
    const double y = kind == Role::negative ? -1.0 : 1.0;
    Index count = 0;
    for (Index i = 0; i < n; ++i)
      if (s.role[first + i] == kind) {
        const double field = scale * z[i] - V * s.g[first + i];
        omega[static_cast<std::size_t>(count)] = y * field;
        place[static_cast<std::size_t>(count++)] = i;
        omega_out[first + i] = field;
      }
    if (count == 0) continue;
    std::fill(omega.begin() + count, omega.begin() + padded(count), 0.0);
    s.of(kind).score(omega.data(), V, padded(count), log_w.data(), g.data(), dg.data());
    for (Index k = 0; k < count; ++k) {
      const std::size_t at = static_cast<std::size_t>(k);
      const Index i = place[at];
      z[i] = s.g[first + i] = y * g[at];
      sums.dg += dg[at];
      sums.free_entropy += log_w[at] + 0.5 * V * g[at] * g[at];
    }
  }
  for (Index i = 0; i < n; ++i)
    if (s.role[first + i] == Role::left_out) z[i] = 0.0;
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
  double V = 0.0, entropy = 0.0;
#pragma omp simd reduction(+ : V, entropy)
  for (Index i = 0; i < n; ++i) {
    const double size = std::fabs(B[i]);
    const double e = vm::exp(-2.0 * size);
    const double inverse = 1.0 / (1.0 + e);
    const double t = (1.0 - e) * inverse;
    out.w[i] = B[i] < 0.0 ? -t : t;
    V += 4.0 * e * inverse * inverse;
    // ln cosh B - B tanh B = |B| (1 - tanh |B|) + ln((1 + e) / 2)
    entropy += size * 2.0 * e * inverse + vm::log(0.5 * (1.0 + e));
  }
  out.V = std::max(V * per_feature, smallest_V);
  out.free_entropy = entropy * per_feature;
  return out;
}

constexpr std::array<double, 3> dampings{0.0, 0.8, 0.95};

/// Judges the step just proposed, then takes it, restarts with more damping, or stops.
void advance(State& s, PriorUpdate next, const IterationLimits& limits) {
  AmpReport& r = s.report;
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
    s.best_g = s.g;
    s.best_V = r.V;
  }
  const bool alternates = s.step.size() == step.size() && s.step.dot(step) < 0.0;
  s.n_alternating = alternates ? s.n_alternating + 1 : 0;
  s.history.push_back(r.residual);
  const std::size_t age = s.history.size();
  if (age > 10 && s.n_alternating >= 10 && r.residual >= s.history[age - 11]) {
    const bool can_damp = s.n_restarts < 2 && dampings.back() > r.damping;
    if (!can_damp) {
      r.status = Status::stalled;
      s.is_done = true;
      return;
    }
    ++s.n_restarts;
    r.damping = *std::upper_bound(dampings.begin(), dampings.end(), r.damping);
    s.w = s.best_w;
    s.g = s.best_g;
    r.V = s.best_V;
    s.step.resize(0);
    s.history.clear();
    s.n_alternating = 0;
  } else {
    const double d = r.damping;
    s.w = d * s.w + (1.0 - d) * next.w;
    r.V = d * r.V + (1.0 - d) * next.V;
    s.step = std::move(step);
  }
  if (r.n_iter >= limits.max_iter) {
    r.status = Status::max_iter;
    s.is_done = true;
  }
}

}  // namespace

std::vector<AmpReport> amp(const Rows& rows, const std::vector<AmpProblem>& problems,
                           RowMatrix& weights, RowMatrix& omega, const IterationLimits& limits,
                           int n_threads, Control& control) {
  const Index n_rows = rows.n_rows, n_features = rows.n_features;
  const Index n_problems = static_cast<Index>(problems.size());
  require(n_rows >= 1 && n_features >= 1, "there must be rows and features");
  require(weights.rows() == n_problems && weights.cols() == n_features,
          "weights must have shape (n_problems, n_features)");
  require(limits.damping >= 0.0 && limits.damping < 1.0, "damping must lie in [0, 1)");
  const double n = static_cast<double>(n_features);
  const double scale = 1.0 / std::sqrt(n);
  std::vector<State> states;
  states.reserve(problems.size());
  for (Index p = 0; p < n_problems; ++p) {
    State s(problems[static_cast<std::size_t>(p)], n_rows, limits.damping);
    s.w = weights.row(p).transpose();
    s.report.V = std::max(1.0 - s.w.squaredNorm() / n, smallest_V);
    require(s.w.squaredNorm() <= n * (1.0 + 1e-9), "|w|^2 must not exceed n_features");
    states.push_back(std::move(s));
  }
  omega = RowMatrix::Zero(n_problems, n_rows);
  const Sweep sweep(rows, n_threads);

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
    const Matrix XtG = sweep(W, control, [&](Index chunk, Index first, auto& Z) {
      for (Index a = 0; a < n_active; ++a) {
        State& s = state(a);
        double* out = omega.row(active[static_cast<std::size_t>(a)]).data();
        const BlockSums block = score_block(s, first, Z.rows(), scale, &Z(0, a), out);
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
    }
    active.erase(std::remove_if(active.begin(), active.end(),
                                [&](Index p) {
                                  return states[static_cast<std::size_t>(p)].is_done;
                                }),
                 active.end());
    control.advance();
  }
  std::vector<AmpReport> reports;
  for (Index p = 0; p < n_problems; ++p) {
    const State& s = states[static_cast<std::size_t>(p)];
    weights.row(p) = s.w.transpose();
    reports.push_back(s.report);
  }
  return reports;
}

LeadingDirection leading_direction(const Rows& rows, const std::uint8_t* use, Index max_steps,
                                   double tol, const PhiloxKey& key, int n_threads,
                                   Control& control) {
  const Index n = rows.n_features;
  double n_used = 0.0;
  for (Index i = 0; i < rows.n_rows; ++i) n_used += use[i] ? 1.0 : 0.0;
  require(n_used > 0.0, "no row is used");
  const Index steps = std::min(max_steps, n);
  const Sweep sweep(rows, n_threads);
  Matrix basis(n, steps + 1);
  Vector start(n);
  numerics::fill_normal(Stream(key, 0), 0, n, start.data());
  basis.col(0) = start.normalized();
  Vector diagonal(steps), beside(steps);
  LeadingDirection out;
  for (Index k = 0; k < steps; ++k) {
    Vector v = sweep(basis.col(k), control, [&](Index, Index first, auto& Z) {
                 for (Index i = 0; i < Z.rows(); ++i)
                   if (!use[first + i]) Z(i, 0) = 0.0;
               }).col(0) / n_used;
    diagonal[k] = basis.col(k).dot(v);
    for (int twice = 0; twice < 2; ++twice) {
      const Vector overlap = basis.leftCols(k + 1).transpose() * v;
      v -= basis.leftCols(k + 1) * overlap;
    }
    beside[k] = v.norm();
    Eigen::SelfAdjointEigenSolver<Matrix> ritz;
    ritz.computeFromTridiagonal(diagonal.head(k + 1), beside.head(k));
    out.eigenvalue = ritz.eigenvalues()[k];
    const Vector last = ritz.eigenvectors().col(k);
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

#include "retemper/linear/relu.hpp"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <sstream>
#include <utility>
#include <vector>

#include "retemper/core/error.hpp"
#include "retemper/core/parallel.hpp"
#include "retemper/numerics/gram_tiles.hpp"
#include "retemper/numerics/linalg.hpp"
#include "retemper/numerics/vector_math.hpp"

namespace retemper::linear {

namespace vm = numerics::vm;

namespace {

constexpr double pi = 3.14159265358979323846;
constexpr Index unit_block = 128;     // of the network: units per task
constexpr Index sample_block = 256;   // of the network: a block of Z is 128 x 256, in L2
constexpr std::size_t patience = 10;  // steps over which the objective must still fall
constexpr double near_line = 0.9999;  // beyond this cosine the angle is computed from a chord

/// 1 / |row|, and 0 for zero rows.
Vector inverse_norms(const ConstRowMatrixView& X) {
  Vector norms(X.rows());
  for (Index i = 0; i < X.rows(); ++i) {
    const double norm = X.row(i).norm();
    norms[i] = norm > 0.0 ? 1.0 / norm : 0.0;
  }
  return norms;
}

/// The rows X[i] (d,) and Y[j..] with their inverse norms: one row of a tile.
struct TileRow {
  const ConstRowMatrixView &X, &Y;
  const Vector &x_inverse, &y_inverse;

  /// acos(-cos) of nearly parallel or opposite rows: there the cosine has lost half its digits.
  double supplement(Index i, Index j, bool is_parallel) const {
    const double a = x_inverse[i];
    const double b = is_parallel ? -y_inverse[j] : y_inverse[j];
    const double half_chord = 0.5 * (a * X.row(i) + b * Y.row(j)).norm();
    const double angle = 2.0 * std::asin(half_chord);
    return is_parallel ? pi - angle : angle;
  }

  /// gram[k] = X[i].Y[first + k] becomes H, for k in [0, n), n <= gram_tile.
  void operator()(Index i, Index first, Index n, double* gram) const {
    double cosine[numerics::gram_tile];
    double largest = 0.0;
    const double scale = x_inverse[i];
    const double* inverse = y_inverse.data() + first;
#pragma omp simd reduction(max : largest)
    for (Index k = 0; k < n; ++k) {
      cosine[k] = gram[k] * scale * inverse[k];
      largest = std::max(largest, std::fabs(cosine[k]));
    }
    if (largest <= 0.5) {
#pragma omp simd
      for (Index k = 0; k < n; ++k) gram[k] *= vm::acos_inside(-cosine[k]) * (0.5 / pi);
      return;
    }
#pragma omp simd
    for (Index k = 0; k < n; ++k) {
      double c = cosine[k];
      c = c > 1.0 ? 1.0 : c;
      c = c < -1.0 ? -1.0 : c;
      gram[k] *= vm::acos(-c) * (0.5 / pi);
    }
    if (largest <= near_line) return;
    for (Index k = 0; k < n; ++k) {
      if (std::fabs(cosine[k]) <= near_line) continue;
      const double angle = supplement(i, first + k, cosine[k] > 0.0);
      gram[k] = X.row(i).dot(Y.row(first + k)) * angle * (0.5 / pi);
    }
  }
};

Index blocks_of(Index n, Index size) {
  return (n + size - 1) / size;
}

/// parallel_for over short items, without the waiting that the polled version needs.
template <class Body>
void checked_for(Index n, int n_threads, Control& control, Body&& body) {
  try {
    parallel_for(n, n_threads, [&](Index i) {
      control.check();
      body(i);
    });
  } catch (...) {
    if (control.is_stopped()) control.rethrow();
    throw;
  }
}

void check_network(const ConstRowMatrixView& W, const ConstVectorView& a,
                   const ConstRowMatrixView& X) {
  require(W.rows() > 0 && W.rows() == a.size(), "W and a differ in the number of units");
  require(W.cols() == X.cols(), "W and X differ in the number of features");
}

/// sum[i] += sign relu(z[i]).
void add_output(const double* z, Index n, double sign, double* sum) {
#pragma omp simd
  for (Index i = 0; i < n; ++i) sum[i] += sign * (z[i] > 0.0 ? z[i] : 0.0);
}

/// The network under training: one pass over the units per step, in blocks that own their units. A
/// pass applies the gradient of the last residual e and leaves the outputs of the new weights.
/// The gradient of unit r is G_r X with G_ri = m^(-1/2) a_r 1[z_ri > 0] e_i + ridge ..., so few
/// samples (n <= 2 d) are trained in the dual W = W_0 - A X, Z -= step G XX^T: one product of
/// 2 m n^2 operations instead of two with 4 m n d in all.
class Trainer {
 public:
  Trainer(RowMatrix W, const ConstVectorView& a, const ConstRowMatrixView& X,
          const ConstVectorView& y, const ReluTraining& training)
      : W_(std::move(W)),
        a_(a),
        X_(X),
        y_(y),
        training_(training),
        scale_(1.0 / std::sqrt(static_cast<double>(W_.rows()))),
        is_dual_(X.rows() <= 2 * X.cols()),
        outputs_(blocks_of(W_.rows(), unit_block), X.rows()),
        penalty_(Vector::Zero(outputs_.rows())),
        error_(X.rows()) {
    if (is_dual_) {
      gram_.resize(X.rows(), X.rows());
      numerics::set_product(X, X.transpose(), gram_);
      Z_.resize(W_.rows(), X.rows());
      A_.setZero(W_.rows(), X.rows());
    } else {
      active_.resize(static_cast<std::size_t>(W_.rows() * X.rows()));
      if (training.ridge > 0.0) start_ = W_;
    }
  }

  ReluFit run(int n_threads, Control& control) {
    const Index block_work = 4 * unit_block * X_.rows() * X_.cols();
    n_threads = threads_for(outputs_.rows(), 1 + 1'000'000 / (1 + block_work), n_threads);
    std::vector<double> loss, best;
    ReluFit fit;
    const auto& limits = training_.limits;
    control.set_total(limits.max_iter);
    for (;; ++fit.n_iter) {
      loss.push_back(pass(fit.n_iter > 0, n_threads, control));
      if (!(loss.back() <= 100.0 * loss.front())) diverged(loss);
      const double ridge_part = training_.ridge * penalty_.sum() / static_cast<double>(X_.rows());
      const double objective = loss.back() + ridge_part;
      best.push_back(best.empty() ? objective : std::min(best.back(), objective));
      if (best.size() > patience) {
        const double gain = best[best.size() - 1 - patience] - best.back();
        const double excess = objective - 1.01 * best.back();  // kinks leave a ripple, no more
        fit.residual = std::max({gain, excess, 0.0}) / (loss.front() > 0.0 ? loss.front() : 1.0);
        if (fit.residual <= limits.tol) fit.status = Status::converged;
      }
      if (fit.status == Status::converged || fit.n_iter == limits.max_iter) break;
      control.advance();
    }
    if (is_dual_) {
      checked_for(outputs_.rows(), n_threads, control, [&](Index block) {
        const Index units = n_units(block);
        numerics::add_product(A_.middleRows(block * unit_block, units), X_,
                              W_.middleRows(block * unit_block, units), -1.0);
      });
    }
    fit.W = std::move(W_);
    fit.intercept = intercept_;
    fit.loss = Eigen::Map<const Vector>(loss.data(), static_cast<Index>(loss.size()));
    return fit;
  }

 private:
  Index n_units(Index block) const { return std::min(unit_block, W_.rows() - block * unit_block); }

  [[noreturn]] void diverged(const std::vector<double>& loss) const {
    std::ostringstream message;
    message << "gradient descent diverged: " << loss.size() - 1 << " steps of step_size "
            << training_.step_size << " took the mean squared residual from " << loss.front()
            << " to " << loss.back()
            << "; keep the step below 2 / (largest eigenvalue of the tangent kernel + ridge)";
    throw NumericalError(message.str());
  }

  /// Returns the mean squared residual of the weights it leaves.
  double pass(bool is_step, int n_threads, Control& control) {
    checked_for(outputs_.rows(), n_threads, control, [&](Index block) {
      outputs_.row(block).setZero();
      if (is_dual_) {
        is_step ? step_dual(block) : start_dual(block);
      } else {
        if (is_step) descend(block);
        forward(block);
      }
    });
    error_.setZero();
    for (Index block = 0; block < outputs_.rows(); ++block)
      error_ += outputs_.row(block).transpose();
    error_ = scale_ * error_ - y_;
    if (training_.fit_intercept) {
      intercept_ = -error_.mean();
      error_.array() += intercept_;
    }
    return error_.squaredNorm() / static_cast<double>(X_.rows());
  }

  void start_dual(Index block) {
    const Index first = block * unit_block, n = X_.rows();
    auto Z = Z_.middleRows(first, n_units(block));
    numerics::set_product(W_.middleRows(first, n_units(block)), X_.transpose(), Z);
    double* f = outputs_.data() + block * n;
    for (Index r = 0; r < Z.rows(); ++r) add_output(&Z(r, 0), n, a_[first + r], f);
  }

  void step_dual(Index block) {
    const Index first = block * unit_block, units = n_units(block), n = X_.rows();
    RowMatrix G(units, n), change(units, n);
    const double *e = error_.data(), step = training_.step_size, ridge = training_.ridge;
    for (Index r = 0; r < units; ++r) {
      const double weight = scale_ * a_[first + r], *z = &Z_(first + r, 0);
      double *g = &G(r, 0), *sum = &A_(first + r, 0);
#pragma omp simd
      for (Index i = 0; i < n; ++i) {
        g[i] = (z[i] > 0.0 ? weight * e[i] : 0.0) - ridge * sum[i];
        sum[i] += step * g[i];
      }
    }
    numerics::set_product(G, gram_, change);
    double* f = outputs_.data() + block * n;
    double moved = 0.0;
    for (Index r = 0; r < units; ++r) {
      const double *g = &G(r, 0), *dz = &change(r, 0), *sum = &A_(first + r, 0);
      double* z = &Z_(first + r, 0);
#pragma omp simd reduction(+ : moved)
      for (Index i = 0; i < n; ++i) {
        moved += step * (2.0 * sum[i] - step * g[i]) * dz[i];
        z[i] -= step * dz[i];
      }
      add_output(z, n, a_[first + r], f);
    }
    penalty_[block] += moved;
  }

  void descend(Index block) {
    const Index first = block * unit_block, units = n_units(block), n = X_.rows();
    RowMatrix gradient = RowMatrix::Zero(units, X_.cols());
    RowMatrix G(units, std::min(sample_block, n));
    for (Index s = 0; s < n; s += sample_block) {
      const Index size = std::min(sample_block, n - s);
      for (Index r = 0; r < units; ++r) {
        const std::uint8_t* marks = active_.data() + (first + r) * n + s;
        const double weight = scale_ * a_[first + r], *e = error_.data() + s;
        double* g = &G(r, 0);
#pragma omp simd
        for (Index i = 0; i < size; ++i) g[i] = marks[i] ? weight * e[i] : 0.0;
      }
      numerics::add_product(G.leftCols(size), X_.middleRows(s, size), gradient);
    }
    auto W = W_.middleRows(first, units);
    if (training_.ridge > 0.0) gradient += training_.ridge * (W - start_.middleRows(first, units));
    W -= training_.step_size * gradient;
    if (training_.ridge > 0.0)
      penalty_[block] = (W - start_.middleRows(first, units)).squaredNorm();
  }

  void forward(Index block) {
    const Index first = block * unit_block, units = n_units(block), n = X_.rows();
    RowMatrix Z(units, std::min(sample_block, n));
    for (Index s = 0; s < n; s += sample_block) {
      const Index size = std::min(sample_block, n - s);
      numerics::set_product(W_.middleRows(first, units), X_.middleRows(s, size).transpose(),
                            Z.leftCols(size));
      for (Index r = 0; r < units; ++r) {
        const double* z = &Z(r, 0);
        add_output(z, size, a_[first + r], outputs_.data() + block * n + s);
        std::uint8_t* marks = active_.data() + (first + r) * n + s;
#pragma omp simd
        for (Index i = 0; i < size; ++i) marks[i] = z[i] > 0.0;
      }
    }
  }

  RowMatrix W_, start_;          // (m, d)
  const ConstVectorView& a_;     // (m,)
  const ConstRowMatrixView& X_;  // (n, d)
  const ConstVectorView& y_;     // (n,)
  const ReluTraining training_;
  const double scale_;  // m^(-1/2)
  const bool is_dual_;
  RowMatrix gram_, Z_, A_;            // dual: X X^T (n, n), W X^T (m, n), W = W_0 - A X (m, n)
  std::vector<std::uint8_t> active_;  // else: (m, n) whether w_r . x_i > 0
  RowMatrix outputs_;                 // (blocks, n) sums over the units of a block
  Vector penalty_;                    // (blocks,) norm of W - W_0 squared, where there is a ridge
  Vector error_;                      // (n,)
  double intercept_ = 0.0;
};

}  // namespace

void relu_ntk(const ConstRowMatrixView& X, Eigen::Ref<RowMatrix> kernel, int n_threads,
              Control& control) {
  const Vector inverse = inverse_norms(X);
  numerics::gram_tiles(X, kernel, n_threads, control, TileRow{X, X, inverse, inverse});
}

void relu_ntk(const ConstRowMatrixView& X, const ConstRowMatrixView& Y,
              Eigen::Ref<RowMatrix> kernel, int n_threads, Control& control) {
  const Vector x_inverse = inverse_norms(X), y_inverse = inverse_norms(Y);
  numerics::gram_tiles(X, Y, kernel, n_threads, control, TileRow{X, Y, x_inverse, y_inverse});
}

Vector relu_network_predict(const ConstRowMatrixView& W, const ConstVectorView& a,
                            const ConstRowMatrixView& X, int n_threads, Control& control) {
  check_network(W, a, X);
  Vector f = Vector::Zero(X.rows());
  const Index n_blocks = blocks_of(X.rows(), sample_block);
  control.set_total(n_blocks);
  checked_for(n_blocks, n_threads, control, [&](Index block) {
    const Index s = block * sample_block, size = std::min(sample_block, X.rows() - s);
    RowMatrix Z(unit_block, size);
    for (Index first = 0; first < W.rows(); first += unit_block) {
      control.check();
      const Index units = std::min(unit_block, W.rows() - first);
      if (units != Z.rows()) Z.resize(units, size);
      numerics::set_product(W.middleRows(first, units), X.middleRows(s, size).transpose(), Z);
      for (Index r = 0; r < units; ++r) add_output(&Z(r, 0), size, a[first + r], f.data() + s);
    }
    control.advance();
  });
  return f / std::sqrt(static_cast<double>(W.rows()));
}

ReluFit relu_network_fit(RowMatrix W, const ConstVectorView& a, const ConstRowMatrixView& X,
                         const ConstVectorView& y, const ReluTraining& training, int n_threads,
                         Control& control) {
  check_network(W, a, X);
  require(X.rows() > 0 && X.rows() == y.size(), "X and y differ in the number of samples");
  require(training.step_size > 0.0 && std::isfinite(training.step_size),
          "step_size must be positive and finite");
  require(training.ridge >= 0.0 && std::isfinite(training.ridge),
          "ridge must be non-negative and finite");
  return Trainer(std::move(W), a, X, y, training).run(n_threads, control);
}

}  // namespace retemper::linear

#include "retemper/phases/linearised.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "retemper/core/error.hpp"
#include "retemper/numerics/linalg.hpp"
#include "retemper/numerics/vector_math.hpp"

namespace retemper::phases {

namespace {

namespace vm = numerics::vm;

constexpr Index look_rows = 128;  // between two looks at Ctrl-C
constexpr Index most_products = 200;
constexpr double product_tol = 1e-3;  // what an inner iteration leaves: it is repeated anyway

using Map = Eigen::Map<RowMatrix>;
using ConstMap = Eigen::Map<const RowMatrix>;

class Linearised {
 public:
  Linearised(const MlpProblem& problem, const ConstVectorView& start, const ConstRowMatrixView& X,
             const ConstRowMatrixView& Y, Control& control)
      : problem_(problem), start_(start), Y_(Y), control_(control), n_(X.rows()) {
    require(problem.sizes.size() >= 2 && X.cols() == problem.sizes.front() && n_ > 0 &&
                Y.rows() == n_ && Y.cols() == problem.sizes.back() &&
                start.size() == n_parameters(problem.sizes),
            "the sizes of the problem disagree");
    Index at = 0;
    a_.push_back(X);
    for (std::size_t l = 0; l < depth(); ++l) {
      weights_.push_back(at);
      at += in(l) * out(l);
      biases_.push_back(at);
      at += out(l);
      RowMatrix z(n_, out(l)), slope(l + 1 < depth() ? n_ : 0, out(l));
      for (Index first = 0; first < n_; first += look_rows) {
        control.check();
        const Index rows = std::min(look_rows, n_ - first);
        auto part = z.middleRows(first, rows);
        numerics::set_product(a_[l].middleRows(first, rows), weight(start_, l), part);
        part.rowwise() += bias(start_, l).transpose();
      }
      if (l + 1 < depth()) {
        if (problem.activation == Activation::relu) {
          slope = (z.array() > 0.0).cast<double>();
          z = z.cwiseMax(0.0);
        } else {
          z = z.array().tanh();
          slope = 1.0 - z.array().square();
        }
      }
      a_.push_back(std::move(z));
      slope_.push_back(std::move(slope));
      move_.emplace_back(look_rows, out(l));
    }
    curvature_ = RowMatrix::Zero(n_, Y.cols());
  }

  Index size() const { return start_.size(); }

  /// out = gradient at start + v; with `keep` the curvature there is kept.
  void gradient(const Vector& v, Vector& out, bool keep) {
    pass(v, out, [&](Index first, Index rows, RowMatrix& moved) {
      for (Index i = 0; i < rows; ++i) {
        double* d = moved.row(i).data();
        const double* f = a_.back().row(first + i).data();
        const double* y = Y_.row(first + i).data();
        double* kept = curvature_.row(first + i).data();
        const Index k = moved.cols();
        if (problem_.loss == Loss::squared) {
          for (Index j = 0; j < k; ++j) d[j] += f[j] - y[j];
          continue;
        }
        double top = -std::numeric_limits<double>::infinity(), sum = 0.0;
        for (Index j = 0; j < k; ++j) {
          d[j] += f[j];
          top = std::max(top, d[j]);
        }
#pragma omp simd
        for (Index j = 0; j < k; ++j) d[j] = vm::exp(d[j] - top);
        for (Index j = 0; j < k; ++j) sum += d[j];
        for (Index j = 0; j < k; ++j) {
          d[j] /= sum;
          if (keep) kept[j] = d[j];
          d[j] -= y[j];
        }
      }
    });
    decay(v, out, true);
  }

  /// out = second derivative of the loss along v, where the curvature was kept.
  void bend(const Vector& v, Vector& out) {
    pass(v, out, [&](Index first, Index rows, RowMatrix& moved) {
      if (problem_.loss == Loss::squared) return;
      for (Index i = 0; i < rows; ++i) {
        double* d = moved.row(i).data();
        const double* p = curvature_.row(first + i).data();
        double mean = 0.0;
        for (Index j = 0; j < moved.cols(); ++j) mean += p[j] * d[j];
        for (Index j = 0; j < moved.cols(); ++j) d[j] = p[j] * (d[j] - mean);
      }
    });
    decay(v, out, false);
  }

 private:
  std::size_t depth() const { return problem_.sizes.size() - 1; }
  Index in(std::size_t l) const { return problem_.sizes[l]; }
  Index out(std::size_t l) const { return problem_.sizes[l + 1]; }
  template <class V>
  ConstMap weight(const V& v, std::size_t l) const {
    return {v.data() + weights_[l], in(l), out(l)};
  }
  template <class V>
  Eigen::Map<const Vector> bias(const V& v, std::size_t l) const {
    return {v.data() + biases_[l], out(l)};
  }

  /// out = mean over rows of J^T change(J v).
  template <class Change>
  void pass(const Vector& v, Vector& result, Change change) {
    result.setZero(size());
    RowMatrix delta, below;
    for (Index first = 0; first < n_; first += look_rows) {
      control_.check();
      const Index rows = std::min(look_rows, n_ - first);
      for (std::size_t l = 0; l < depth(); ++l) {
        auto moved = move_[l].topRows(rows);
        numerics::set_product(a_[l].middleRows(first, rows), weight(v, l), moved);
        if (l > 0) numerics::add_product(move_[l - 1].topRows(rows), weight(start_, l), moved);
        moved.rowwise() += bias(v, l).transpose();
        if (l + 1 < depth()) moved.array() *= slope_[l].middleRows(first, rows).array();
      }
      delta = move_[depth() - 1].topRows(rows);
      change(first, rows, delta);
      delta /= static_cast<double>(n_);
      for (std::size_t l = depth(); l-- > 0;) {
        Map w(result.data() + weights_[l], in(l), out(l));
        numerics::add_product(a_[l].middleRows(first, rows).transpose(), delta, w);
        result.segment(biases_[l], out(l)) += delta.colwise().sum().transpose();
        if (l == 0) break;
        below.resize(rows, in(l));
        numerics::set_product(delta, weight(start_, l).transpose(), below);
        delta = below.cwiseProduct(slope_[l - 1].middleRows(first, rows));
      }
    }
  }

  /// out += weight decay times the weights v, from the start on or not.
  void decay(const Vector& v, Vector& result, bool from_start) const {
    if (problem_.weight_decay == 0.0) return;
    for (std::size_t l = 0; l < depth(); ++l) {
      const Index at = weights_[l], size = in(l) * out(l);
      result.segment(at, size) += problem_.weight_decay * v.segment(at, size);
      if (from_start) result.segment(at, size) += problem_.weight_decay * start_.segment(at, size);
    }
  }

  const MlpProblem& problem_;
  const Vector start_;
  const ConstRowMatrixView& Y_;
  Control& control_;
  Index n_;
  std::vector<Index> weights_, biases_;
  std::vector<RowMatrix> a_;      // (n, units) inputs first, outputs last
  std::vector<RowMatrix> slope_;  // (n, units) of the hidden layers
  std::vector<RowMatrix> move_;   // (look_rows, units) of a pass
  RowMatrix curvature_;           // (n, outputs) probabilities
};

}  // namespace

numerics::Trajectory linearised_flow(const MlpProblem& problem, const ConstVectorView& start,
                                     const ConstRowMatrixView& X, const ConstRowMatrixView& Y,
                                     const ConstVectorView& times,
                                     const numerics::OdeLimits& limits, Control& control) {
  Linearised net(problem, start, X, Y, control);
  double shift = 0.0;
  Vector gap, along, bent;
  numerics::StiffSystem system;
  system.rhs = [&](const Vector& v, Vector& dv) {
    net.gradient(v, dv, false);
    dv = -dv;
    if (!dv.allFinite()) dv.setConstant(std::numeric_limits<double>::quiet_NaN());
  };
  system.factor = [&](const Vector& v, double by, bool is_new) {
    shift = by;
    if (is_new) net.gradient(v, bent, true);
  };
  system.solve = [&](Vector& b) {  // conjugate gradients
    gap = b;
    along = b;
    b.setZero();
    double size = gap.squaredNorm();
    const double enough = product_tol * product_tol * size;
    for (Index i = 0; i < most_products && size > enough; ++i) {
      net.bend(along, bent);
      bent += shift * along;
      const double step = size / along.dot(bent);
      b += step * along;
      gap -= step * bent;
      const double next = gap.squaredNorm();
      along = gap + (next / size) * along;
      size = next;
    }
  };
  return numerics::integrate_bdf(system, 0.0, Vector::Zero(net.size()), times, limits, control);
}

}  // namespace retemper::phases

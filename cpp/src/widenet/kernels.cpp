#include "retemper/widenet/kernels.hpp"

#include <cmath>

#include "retemper/core/error.hpp"
#include "retemper/core/parallel.hpp"
#include "retemper/numerics/gram_tiles.hpp"
#include "retemper/numerics/vector_math.hpp"

namespace retemper::widenet {

namespace vm = numerics::vm;

namespace {

constexpr double inverse_pi = 0.318309886183790671538;

/// 1 / sqrt(offset + factor a), and 0 where that is infinite.
Vector inverse_root(const ConstVectorView& a, double offset, double factor) {
  return a.unaryExpr([=](double v) {
    const double square = offset + factor * v;
    return square > 0.0 ? 1.0 / std::sqrt(square) : 0.0;
  });
}

// Each map holds what one row or column contributes, and turns `count` covariances in place.

struct ErfMap {
  Vector row, col;
  double cov;
  ErfMap(const PairLaw& law)
      : row(inverse_root(law.row_var, 1.0, 2.0)),
        col(inverse_root(law.col_var, 1.0, 2.0)),
        cov(law.cov) {}
  void operator()(Index i, Index first, Index count, double* c) const {
    const double scale = 2.0 * cov * row[i];
    const double* factor = col.data() + first;
#pragma omp simd
    for (Index k = 0; k < count; ++k) {
      double z = c[k] * scale * factor[k];
      z = z > 1.0 ? 1.0 : z;
      z = z < -1.0 ? -1.0 : z;
      c[k] = 2.0 * inverse_pi * vm::asin(z);
    }
  }
};

/// sqrt(a b) (t acos(-t) + sqrt(1 - t^2)) / (2 pi); centred, the 1 is taken from the root exactly.
struct ReluMap {
  Vector row, col, row_inverse, col_inverse;
  double cov, constant;
  ReluMap(const PairLaw& law)
      : row(law.row_var.cwiseSqrt()),
        col(law.col_var.cwiseSqrt()),
        row_inverse(inverse_root(law.row_var, 0.0, 1.0)),
        col_inverse(inverse_root(law.col_var, 0.0, 1.0)),
        cov(law.cov),
        constant(law.is_centred ? 0.0 : 1.0) {}
  void operator()(Index i, Index first, Index count, double* c) const {
    const double scale = cov * row_inverse[i], size = 0.5 * inverse_pi * row[i];
    const double *inverse = col_inverse.data() + first, *root = col.data() + first;
#pragma omp simd
    for (Index k = 0; k < count; ++k) {
      double t = c[k] * scale * inverse[k];
      t = t > 1.0 ? 1.0 : t;
      t = t < -1.0 ? -1.0 : t;
      const double square = (1.0 - t) * (1.0 + t);
      const double bend = constant - t * t / (1.0 + std::sqrt(square));  // sqrt(1 - t^2) - 1 or + 0
      c[k] = size * root[k] * (t * vm::acos(-t) + bend);
    }
  }
};

struct GeluMap {
  Vector row, col, row_inverse, col_inverse;
  double cov, constant;
  GeluMap(const PairLaw& law)
      : row(law.row_var),
        col(law.col_var),
        row_inverse(inverse_root(law.row_var, 1.0, 1.0)),
        col_inverse(inverse_root(law.col_var, 1.0, 1.0)),
        cov(law.cov),
        constant(law.is_centred ? 0.0 : 1.0) {}
  void operator()(Index i, Index first, Index count, double* c) const {
    const double a = row[i], ra = row_inverse[i], ra2_less_1 = ra * ra - 1.0;
    const double *var = col.data() + first, *inverse = col_inverse.data() + first;
#pragma omp simd
    for (Index k = 0; k < count; ++k) {
      const double b = var[k], rb = inverse[k], covariance = cov * c[k];
      double z = covariance * ra * rb;
      z = z > 1.0 ? 1.0 : z;
      z = z < -1.0 ? -1.0 : z;
      const double w = std::sqrt((1.0 - z) * (1.0 + z));
      const double product =
          a * b * (constant + z * z / (w * (1.0 + w)));  // a b (1 / w - 1 or + 0)
      const double square = covariance * covariance * (ra2_less_1 + rb * rb) / w;
      c[k] = covariance * (0.25 + 0.5 * inverse_pi * vm::asin(z)) +
             0.5 * inverse_pi * ra * rb * (product + square);
    }
  }
};

struct LinearMap {
  double cov;
  LinearMap(const PairLaw& law) : cov(law.cov) {}
  void operator()(Index, Index, Index count, double* c) const {
#pragma omp simd
    for (Index k = 0; k < count; ++k) c[k] *= cov;
  }
};

template <class Body>
void with_map(Activation activation, const PairLaw& law, Body&& body) {
  require((law.row_var.array() >= 0.0).all() && (law.col_var.array() >= 0.0).all(),
          "variances must be non-negative");
  switch (activation) {
    case Activation::erf:
      return body(ErfMap(law));
    case Activation::relu:
      return body(ReluMap(law));
    case Activation::gelu:
      return body(GeluMap(law));
    case Activation::linear:
      return body(LinearMap(law));
  }
  throw ArgumentError("unknown activation");
}

}  // namespace

void gaussian_kernel(Activation activation, const ConstRowMatrixView& X, const PairLaw& law,
                     Eigen::Ref<RowMatrix> kernel, int n_threads, Control& control) {
  require(law.row_var.size() == X.rows() && law.col_var.size() == X.rows(),
          "one variance per row of X is needed");
  with_map(activation, law,
           [&](const auto& map) { numerics::gram_tiles(X, kernel, n_threads, control, map); });
}

void gaussian_kernel(Activation activation, const ConstRowMatrixView& X,
                     const ConstRowMatrixView& Y, const PairLaw& law, Eigen::Ref<RowMatrix> kernel,
                     int n_threads, Control& control) {
  require(law.row_var.size() == X.rows() && law.col_var.size() == Y.rows(),
          "one variance per row of X and of Y is needed");
  with_map(activation, law,
           [&](const auto& map) { numerics::gram_tiles(X, Y, kernel, n_threads, control, map); });
}

void gaussian_kernel_of_gram(Activation activation, const ConstRowMatrixView& gram,
                             const PairLaw& law, Eigen::Ref<RowMatrix> kernel, int n_threads,
                             Control& control) {
  require(law.row_var.size() == gram.rows() && law.col_var.size() == gram.cols(),
          "one variance per row and per column of the Gram matrix is needed");
  require(kernel.rows() == gram.rows() && kernel.cols() == gram.cols(),
          "kernel and Gram matrix differ in shape");
  constexpr Index rows_per_item = 64;
  const Index n_items = (gram.rows() + rows_per_item - 1) / rows_per_item;
  const int n = threads_for(gram.size(), 50'000, n_threads);
  with_map(activation, law, [&](const auto& map) {
    parallel_for(n_items, n, control, [&](Index item) {
      const Index end = std::min(gram.rows(), (item + 1) * rows_per_item);
      for (Index i = item * rows_per_item; i < end; ++i) {
        kernel.row(i) = gram.row(i);
        map(i, 0, gram.cols(), &kernel(i, 0));
      }
    });
  });
}

Vector gaussian_kernel_of_pairs(Activation activation, const ConstVectorView& gram,
                                const PairLaw& law) {
  require(law.row_var.size() == gram.size() && law.col_var.size() == gram.size(),
          "one variance per pair is needed on either side");
  Vector out = gram;
  with_map(activation, law, [&](const auto& map) {
    for (Index i = 0; i < out.size(); ++i) map(i, i, 1, &out[i]);
  });
  return out;
}

}  // namespace retemper::widenet

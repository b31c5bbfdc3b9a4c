#include "retemper/widenet/kernels.hpp"

#include <algorithm>
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

/// Not Eigen's, whose bits depend on the place of an entry under AVX-512.
Vector root(const ConstVectorView& a) {
  return a.unaryExpr([](double v) { return std::sqrt(v); });
}

constexpr Index block = 64;           // entries that a map looks through at once
constexpr double small_enough = 0.5;  // |correlation| up to which a polynomial needs no root

/// c[k] scale factor[k] within [-1, 1], in place; returns the largest size.
double correlate(double scale, const double* factor, Index n, double* c) {
  double largest = 0.0;
#pragma omp simd reduction(max : largest)
  for (Index k = 0; k < n; ++k) {
    double z = c[k] * scale * factor[k];
    z = z > 1.0 ? 1.0 : z;
    z = z < -1.0 ? -1.0 : z;
    c[k] = z;
    largest = std::max(largest, std::fabs(z));
  }
  return largest;
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
    const double scale = 2.0 * cov * row[i], *factor = col.data() + first;
    for (Index start = 0; start < count; start += block) {
      const Index n = std::min(block, count - start);
      double* z = c + start;
      if (correlate(scale, factor + start, n, z) <= small_enough) {
#pragma omp simd
        for (Index k = 0; k < n; ++k) z[k] = 2.0 * inverse_pi * vm::asin_inside(z[k]);
      } else {
#pragma omp simd
        for (Index k = 0; k < n; ++k) z[k] = 2.0 * inverse_pi * vm::asin(z[k]);
      }
    }
  }
};

/// sqrt(a b) (t acos(-t) + sqrt(1 - t^2)) / (2 pi); centred, less its value at t = 0.
struct ReluMap {
  Vector row, col, row_inverse, col_inverse;
  double cov, constant;
  ReluMap(const PairLaw& law)
      : row(root(law.row_var)),
        col(root(law.col_var)),
        row_inverse(inverse_root(law.row_var, 0.0, 1.0)),
        col_inverse(inverse_root(law.col_var, 0.0, 1.0)),
        cov(law.cov),
        constant(law.is_centred ? 0.0 : 1.0) {}
  void operator()(Index i, Index first, Index count, double* c) const {
    const double scale = cov * row_inverse[i], size = 0.5 * inverse_pi * row[i];
    const double *inverse = col_inverse.data() + first, *all_roots = col.data() + first;
    for (Index start = 0; start < count; start += block) {
      const Index n = std::min(block, count - start);
      const double* size_of = all_roots + start;
      double* t = c + start;
      if (correlate(scale, inverse + start, n, t) <= small_enough) {
#pragma omp simd
        for (Index k = 0; k < n; ++k) t[k] = size * size_of[k] * vm::ramp_inside(t[k], constant);
      } else {
#pragma omp simd
        for (Index k = 0; k < n; ++k) t[k] = size * size_of[k] * vm::ramp(t[k], constant);
      }
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

/// sum_k row_k col_k z^k by Horner's rule, to the degree that the largest |z| of a block needs.
struct SeriesMap {
  const ConstRowMatrixView &row, &col;
  Vector row_inverse, col_inverse;
  double cov;
  SeriesMap(const Series& series, const PairLaw& law)
      : row(series.row),
        col(series.col),
        row_inverse(inverse_root(law.row_var, 0.0, 1.0)),
        col_inverse(inverse_root(law.col_var, 0.0, 1.0)),
        cov(law.cov) {
    require(row.rows() == law.row_var.size() && col.cols() == law.col_var.size() &&
                row.cols() == col.rows() && row.cols() >= 1,
            "coefficients and variances differ in shape");
    require((law.row_var.array() >= 0.0).all() && (law.col_var.array() >= 0.0).all(),
            "variances must be non-negative");
  }
  void operator()(Index i, Index first, Index count, double* c) const {
    constexpr double log_small = -36.8;  // log 1e-16
    const double scale = cov * row_inverse[i];
    double z[block], sum[block];
    for (Index start = 0; start < count; start += block) {
      const Index n = std::min(block, count - start);
      const double* inverse = col_inverse.data() + first + start;
      std::copy(c + start, c + start + n, z);
      const double largest = correlate(scale, inverse, n, z);
      Index top = row.cols() - 1;
      if (largest < 1.0) {
        const double needed = largest > 0.0 ? log_small / std::log(largest) : 0.0;
        if (needed < static_cast<double>(top)) top = static_cast<Index>(needed) + 1;
      }
      top = std::min(top, row.cols() - 1);
      std::fill(sum, sum + n, 0.0);
      for (Index k = top; k >= 0; --k) {
        const double left = row(i, k);
        const double* right = col.data() + k * col.outerStride() + first + start;
#pragma omp simd
        for (Index j = 0; j < n; ++j) sum[j] = sum[j] * z[j] + left * right[j];
      }
      std::copy(sum, sum + n, c + start);
    }
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
    case Activation::table:
      break;
  }
  throw ArgumentError("unknown activation");
}

template <class Map>
void map_gram(const ConstRowMatrixView& gram, Eigen::Ref<RowMatrix> kernel, int n_threads,
              Control& control, const Map& map) {
  require(kernel.rows() == gram.rows() && kernel.cols() == gram.cols(),
          "kernel and Gram matrix differ in shape");
  constexpr Index rows_per_item = 64;
  const Index n_items = (gram.rows() + rows_per_item - 1) / rows_per_item;
  const int n = threads_for(gram.size(), 50'000, n_threads);
  parallel_for(n_items, n, control, [&](Index item) {
    const Index end = std::min(gram.rows(), (item + 1) * rows_per_item);
    for (Index i = item * rows_per_item; i < end; ++i) {
      kernel.row(i) = gram.row(i);
      map(i, 0, gram.cols(), &kernel(i, 0));
    }
  });
}

}  // namespace

ActivationTable::ActivationTable(const ConstVectorView& edges, const ConstRowMatrixView& values,
                                 const ConstRowMatrixView& slopes)
    : edge(edges), coef(values), slope(slopes) {
  const Index n_panels = coef.rows();
  require(slope.rows() == n_panels && slope.cols() == coef.cols() &&
              edge.size() == (n_panels > 0 ? n_panels + 1 : 0),
          "edges and polynomials of the activation differ in number");
  if (n_panels == 0) return;
  require(std::is_sorted(edge.data(), edge.data() + edge.size()) && edge[n_panels] > edge[0],
          "edges of the activation must increase");
  constexpr Index n_cells = 4096;
  const double length = edge[n_panels] - edge[0];
  cells_per_unit = static_cast<double>(n_cells) / length;
  first.resize(static_cast<std::size_t>(n_cells) + 1);
  Index panel = 0;
  for (Index cell = 0; cell <= n_cells; ++cell) {
    const double start = edge[0] + length * static_cast<double>(cell - 1) / n_cells;
    while (panel + 1 < n_panels && edge[panel + 1] <= start) ++panel;  // one cell before: rounding
    first[static_cast<std::size_t>(cell)] = panel;
  }
}

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
  with_map(activation, law,
           [&](const auto& map) { map_gram(gram, kernel, n_threads, control, map); });
}

void series_kernel_of_gram(const Series& series, const ConstRowMatrixView& gram, const PairLaw& law,
                           Eigen::Ref<RowMatrix> kernel, int n_threads, Control& control) {
  require(law.row_var.size() == gram.rows() && law.col_var.size() == gram.cols(),
          "one variance per row and per column of the Gram matrix is needed");
  map_gram(gram, kernel, n_threads, control, SeriesMap(series, law));
}

void series_kernel(const Series& series, const ConstRowMatrixView& X, const PairLaw& law,
                   Eigen::Ref<RowMatrix> kernel, int n_threads, Control& control) {
  require(law.row_var.size() == X.rows() && law.col_var.size() == X.rows(),
          "one variance per row of X is needed");
  numerics::gram_tiles(X, kernel, n_threads, control, SeriesMap(series, law));
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

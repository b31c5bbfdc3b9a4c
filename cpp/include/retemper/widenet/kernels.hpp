// Gaussian kernels of a hidden unit: E[s(u) s(u')] for a Gaussian pair (u, u').
#pragma once

#include <vector>

#include "retemper/core/control.hpp"
#include "retemper/core/types.hpp"

namespace retemper::widenet {

/// The activation s of the hidden units.
/// `table`: any other, by the expansion of its kernel (Series) and as a table (ActivationTable).
enum class Activation { erf, relu, gelu, linear, table };

/// An activation as panels of Chebyshev polynomials, and beyond them nothing; empty by default.
struct ActivationTable {
  ActivationTable() = default;
  /// Checks the shapes, and finds the first panel of every cell of a uniform grid.
  ActivationTable(const ConstVectorView& edge, const ConstRowMatrixView& coef,
                  const ConstRowMatrixView& slope);

  Vector edge;               // (n_panels + 1,), increasing
  RowMatrix coef;            // (n_panels, order) of the value
  RowMatrix slope;           // (n_panels, order) of the derivative
  std::vector<Index> first;  // (n_cells,), the panel at the start of a cell
  double cells_per_unit = 0.0;
};

/// The law of the pair: u has variance row_var[i], u' has col_var[j], their covariance is `cov`
/// times the entry of the Gram matrix.
struct PairLaw {
  const ConstVectorView& row_var;  // (n,)
  const ConstVectorView& col_var;  // (k,)
  double cov = 1.0;
  bool is_centred = false;  // subtract E s(u) E s(u')
};

/// Hermite coefficients of the activation at the variance of every row and column. The kernel of a
/// pair of correlation z is the sum over k of row(i, k) col(k, j) z^k, so that row and column
/// coefficients without k = 0 give the centred kernel.
struct Series {
  const ConstRowMatrixView& row;  // (n, order)
  const ConstRowMatrixView& col;  // (order, k)
};

/// Kernel by its series from a Gram matrix that is kept: gram (n, k), `kernel` (n, k). Terms are
/// left out where they are below 1e-16 of the largest that a pair may have.
void series_kernel_of_gram(const Series& series, const ConstRowMatrixView& gram, const PairLaw& law,
                           Eigen::Ref<RowMatrix> kernel, int n_threads, Control& control);

/// The same between the rows of X (n, d); law.row_var is law.col_var. Exactly symmetric.
void series_kernel(const Series& series, const ConstRowMatrixView& X, const PairLaw& law,
                   Eigen::Ref<RowMatrix> kernel, int n_threads, Control& control);

/// Kernel between the rows of X (n, d); law.row_var is law.col_var. Writes all of `kernel` (n, n),
/// exactly symmetric; the Gram matrix is never stored.
void gaussian_kernel(Activation activation, const ConstRowMatrixView& X, const PairLaw& law,
                     Eigen::Ref<RowMatrix> kernel, int n_threads, Control& control);

/// The same between the rows of X (n, d) and of Y (k, d); `kernel` (n, k).
void gaussian_kernel(Activation activation, const ConstRowMatrixView& X,
                     const ConstRowMatrixView& Y, const PairLaw& law, Eigen::Ref<RowMatrix> kernel,
                     int n_threads, Control& control);

/// The same from a Gram matrix that is kept: gram (n, k), `kernel` (n, k).
void gaussian_kernel_of_gram(Activation activation, const ConstRowMatrixView& gram,
                             const PairLaw& law, Eigen::Ref<RowMatrix> kernel, int n_threads,
                             Control& control);

/// Kernel of n separate pairs with variances law.row_var (n,), law.col_var (n,) and covariances
/// law.cov * gram (n,).
Vector gaussian_kernel_of_pairs(Activation activation, const ConstVectorView& gram,
                                const PairLaw& law);

}  // namespace retemper::widenet

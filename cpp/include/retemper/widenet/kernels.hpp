// Gaussian kernels of a hidden unit: E[s(u) s(u')] for a Gaussian pair (u, u').
#pragma once

#include "retemper/core/control.hpp"
#include "retemper/core/types.hpp"

namespace retemper::widenet {

/// The activation s of the hidden units.
enum class Activation { erf, relu, gelu, linear };

/// The law of the pair: u has variance row_var[i], u' has col_var[j], their covariance is `cov`
/// times the entry of the Gram matrix.
struct PairLaw {
  const ConstVectorView& row_var;  // (n,)
  const ConstVectorView& col_var;  // (k,)
  double cov = 1.0;
  bool is_centred = false;  // subtract E s(u) E s(u')
};

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

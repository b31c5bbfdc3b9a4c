// Dense decompositions, compiled once for all systems.
#pragma once

#include "retemper/core/types.hpp"

namespace retemper::numerics {

/// Eigenvalues, ascending, and orthonormal eigenvectors in the columns.
struct SymmetricEigen {
  Vector values;
  Matrix vectors;  ///< empty where only values were asked for
};

/// Of the symmetric matrix whose lower half is `a`. Throws NumericalError if the iteration fails.
SymmetricEigen symmetric_eigen(const Matrix& a);

/// Of the tridiagonal matrix with these entries on the diagonal (n,) and beside it (n - 1,).
SymmetricEigen tridiagonal_eigen(const Vector& diagonal, const Vector& beside, bool with_vectors);

/// x = u diag(s) v, singular values descending and cut at s_1 max(n, d) eps.
struct ThinSvd {
  Matrix u;     ///< (n, rank)
  Vector s;     ///< (rank,)
  RowMatrix v;  ///< (rank, d) orthonormal rows
};

/// A Gram matrix squares the condition number of x: where its own exceeds this, that costs too
/// many digits.
inline constexpr double largest_gram_condition = 1e6;

/// From the smaller Gram matrix where its condition number allows. Otherwise its eigenvectors only
/// start one-sided Jacobi rotations, which keep the digits of the small singular values (Drmac and
/// Veselic 2008). Throws NumericalError if an iteration fails.
ThinSvd thin_svd(const ConstRowMatrixView& x);

/// The same, given the eigendecomposition of the smaller Gram matrix of x (x x^T where n <= d).
ThinSvd thin_svd(const ConstRowMatrixView& x, const ConstVectorView& eigenvalues,
                 const ConstMatrixView& eigenvectors);

}  // namespace retemper::numerics

// Dense products, factors and decompositions, compiled once for all systems.
//
// Products and solutions take matrices of either order, blocks of them and their transposes, as
// long as one of the two directions is contiguous. Vectors are matrices of one column.
#pragma once

#include <type_traits>

#include "retemper/core/types.hpp"

namespace retemper::numerics {

/// A matrix in memory, to be read.
struct ConstView {
  template <class Derived>
  ConstView(const Eigen::DenseBase<Derived>& m)
      : data(m.derived().data()),
        rows(m.rows()),
        cols(m.cols()),
        stride(m.derived().outerStride()),
        is_row_major(Derived::IsRowMajor) {
    static_assert(std::is_same_v<typename Derived::Scalar, double>, "entries must be double");
    static_assert((static_cast<int>(Derived::Flags) & Eigen::DirectAccessBit) != 0 &&
                      static_cast<int>(Derived::InnerStrideAtCompileTime) == 1,
                  "an expression must be evaluated first");
  }
  ConstView(const double* at, Index n_rows, Index n_cols, Index outer_stride, bool row_major)
      : data(at), rows(n_rows), cols(n_cols), stride(outer_stride), is_row_major(row_major) {}
  ConstView transpose() const { return {data, cols, rows, stride, !is_row_major}; }

  const double* data;
  Index rows, cols, stride;
  bool is_row_major;
};

/// A matrix in memory, to be written: out.block(...) may be given.
struct View : ConstView {
  template <class Derived>
  View(const Eigen::DenseBase<Derived>& m) : ConstView(m) {
    static_assert((static_cast<int>(Derived::Flags) & Eigen::LvalueBit) != 0, "not writable");
  }
  double* to() const { return const_cast<double*>(data); }
};

/// out = a b, which must not overlap.
void set_product(ConstView a, ConstView b, View out);

/// a b, by columns.
Matrix product(ConstView a, ConstView b);

/// out += scale a b.
void add_product(ConstView a, ConstView b, View out, double scale = 1.0);

/// The lower half of out += scale a a^T.
void add_gram(ConstView a, View out, double scale = 1.0);

/// L L^T = a, a symmetric positive definite matrix.
class Cholesky {
 public:
  /// Of the matrix whose lower half is `a`. False where it is not positive definite to rounding:
  /// then nothing else may be asked for.
  bool compute(const Matrix& a);

  void solve_in_place(View b) const;   ///< b becomes a^-1 b
  void halve_in_place(View b) const;   ///< b becomes L^-1 b
  void finish_in_place(View b) const;  ///< b becomes L^-T b
  double log_det() const;              ///< of a
  double smallest_pivot() const;       ///< smallest squared diagonal entry of L

 private:
  Matrix lower_;  // L in the lower half
};

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

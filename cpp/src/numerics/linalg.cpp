#include "retemper/numerics/linalg.hpp"

#include <Eigen/Eigenvalues>
#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <vector>

#include "retemper/core/error.hpp"

namespace retemper::numerics {

namespace {

constexpr double unit_roundoff = std::numeric_limits<double>::epsilon();

SymmetricEigen result(const Eigen::SelfAdjointEigenSolver<Matrix>& solver, bool with_vectors) {
  if (solver.info() != Eigen::Success)
    throw NumericalError("the eigenvalues of a symmetric matrix did not converge");
  return {solver.eigenvalues(), with_vectors ? solver.eigenvectors() : Matrix()};
}

/// Turns pairs of rows of y, and the same columns of q, until the rows with a norm above `cut` are
/// orthogonal: q y stays what it was.
void orthogonalise_rows(RowMatrix& y, Matrix& q, double cut) {
  constexpr int most_sweeps = 40;
  const Index m = y.rows();
  const double tol = unit_roundoff * std::sqrt(static_cast<double>(y.cols()));
  Vector square = y.rowwise().squaredNorm();
  for (int sweep = 0; sweep < most_sweeps; ++sweep) {
    bool is_done = true;
    for (Index i = 0; i < m; ++i) {
      for (Index j = i + 1; j < m; ++j) {
        if (!(square[i] > cut * cut && square[j] > cut * cut)) continue;
        const double overlap = y.row(i).dot(y.row(j));
        if (!(std::abs(overlap) > tol * std::sqrt(square[i]) * std::sqrt(square[j]))) continue;
        is_done = false;
        const double zeta = (square[j] - square[i]) / (2.0 * overlap);
        const double size = std::abs(zeta);
        const double root = size < 1e100 ? std::sqrt(1.0 + size * size) : size;
        const double tangent = (zeta < 0.0 ? -1.0 : 1.0) / (size + root);
        const double cosine = 1.0 / std::sqrt(1.0 + tangent * tangent), sine = cosine * tangent;
        double *a = y.row(i).data(), *b = y.row(j).data(), aa = 0.0, bb = 0.0;
        for (Index k = 0; k < y.cols(); ++k) {
          const double left = cosine * a[k] - sine * b[k], right = sine * a[k] + cosine * b[k];
          a[k] = left;
          b[k] = right;
          aa += left * left;
          bb += right * right;
        }
        square[i] = aa;
        square[j] = bb;
        double *p = q.col(i).data(), *r = q.col(j).data();
        for (Index k = 0; k < q.rows(); ++k) {
          const double left = cosine * p[k] - sine * r[k], right = sine * p[k] + cosine * r[k];
          p[k] = left;
          r[k] = right;
        }
      }
    }
    if (is_done) return;
  }
  throw NumericalError("the singular value decomposition did not converge");
}

/// x = u diag(s) v for x with no more rows than columns, and q orthogonal, nearly u.
ThinSvd jacobi_svd(const RowMatrix& x, Matrix q) {
  const double entry = x.size() ? x.cwiseAbs().maxCoeff() : 0.0;
  if (!std::isfinite(entry)) throw NumericalError("a matrix to be decomposed is not finite");
  const double scale = entry > 0.0 ? entry : 1.0;  // so that no square over- or underflows
  RowMatrix y = q.transpose() * (x / scale);
  const double largest = y.rows() ? std::sqrt(y.rowwise().squaredNorm().maxCoeff()) : 0.0;
  const double cut = largest * unit_roundoff * static_cast<double>(x.cols());
  orthogonalise_rows(y, q, cut);
  const Vector norm = y.rowwise().norm();
  std::vector<Index> order(static_cast<std::size_t>(y.rows()));
  std::iota(order.begin(), order.end(), Index{0});
  std::stable_sort(order.begin(), order.end(), [&](Index i, Index j) { return norm[i] > norm[j]; });
  const Index rank = (norm.array() > cut).count();
  ThinSvd out{Matrix(x.rows(), rank), Vector(rank), RowMatrix(rank, x.cols())};
  for (Index k = 0; k < rank; ++k) {
    const Index from = order[static_cast<std::size_t>(k)];
    out.u.col(k) = q.col(from);
    out.s[k] = norm[from] * scale;
    out.v.row(k) = y.row(from) / norm[from];
  }
  return out;
}

}  // namespace

SymmetricEigen symmetric_eigen(const Matrix& a) {
  return result(Eigen::SelfAdjointEigenSolver<Matrix>(a), true);
}

SymmetricEigen tridiagonal_eigen(const Vector& diagonal, const Vector& beside, bool with_vectors) {
  Eigen::SelfAdjointEigenSolver<Matrix> solver;
  solver.computeFromTridiagonal(diagonal, beside,
                                with_vectors ? Eigen::ComputeEigenvectors : Eigen::EigenvaluesOnly);
  return result(solver, with_vectors);
}

ThinSvd thin_svd(const ConstRowMatrixView& x, const ConstVectorView& eigenvalues,
                 const ConstMatrixView& eigenvectors) {
  const Index m = eigenvalues.size();
  const bool is_wide = x.rows() <= x.cols();
  const Matrix q = eigenvectors.rowwise().reverse();
  if (m == 0 || !(eigenvalues[0] * largest_gram_condition > eigenvalues[m - 1])) {
    if (is_wide) return jacobi_svd(x, q);
    ThinSvd turned = jacobi_svd(x.transpose(), q);
    return {turned.v.transpose(), std::move(turned.s), turned.u.transpose()};
  }
  const Vector s = eigenvalues.reverse().cwiseSqrt();
  if (is_wide) return {q, s, s.cwiseInverse().asDiagonal() * (q.transpose() * x)};
  return {(x * q) * s.cwiseInverse().asDiagonal(), s, q.transpose()};
}

ThinSvd thin_svd(const ConstRowMatrixView& x) {
  const Index m = std::min(x.rows(), x.cols());
  if (m == 0) return {Matrix(x.rows(), 0), Vector(0), RowMatrix(0, x.cols())};
  Matrix gram = Matrix::Zero(m, m);
  if (x.rows() <= x.cols()) {
    gram.selfadjointView<Eigen::Lower>().rankUpdate(x);
  } else {
    gram.selfadjointView<Eigen::Lower>().rankUpdate(x.transpose());
  }
  const SymmetricEigen eigen = symmetric_eigen(gram);  // reads the lower half
  return thin_svd(x, eigen.values, eigen.vectors);
}

}  // namespace retemper::numerics

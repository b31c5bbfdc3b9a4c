#include "retemper/numerics/linalg.hpp"

#include <Eigen/Cholesky>
#include <Eigen/Eigenvalues>
#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <utility>
#include <vector>

#include "retemper/core/error.hpp"

namespace retemper::numerics {

namespace {

constexpr double unit_roundoff = std::numeric_limits<double>::epsilon();

template <int Order>
using Stored = Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Order>;
template <int Order>
using ConstMap = Eigen::Map<const Stored<Order>, 0, Eigen::OuterStride<>>;
using Out = Eigen::Map<Matrix, 0, Eigen::OuterStride<>>;

template <int Order>
ConstMap<Order> map(const ConstView& a) {
  return {a.data, a.rows, a.cols, Eigen::OuterStride<>(a.stride)};
}

/// f(a) with `a` as a matrix of its order.
template <class Function>
void as_stored(const ConstView& a, Function&& f) {
  if (a.is_row_major) {
    f(map<Eigen::RowMajor>(a));
  } else {
    f(map<Eigen::ColMajor>(a));
  }
}

/// f(a, b, out) of the same product written for an `out` that is stored by columns.
template <class Function>
void as_columns(ConstView a, ConstView b, const View& out, Function&& f) {
  Index rows = out.rows, cols = out.cols;
  if (out.is_row_major) {
    const ConstView first = a;
    a = b.transpose();
    b = first.transpose();
    std::swap(rows, cols);
  }
  Out to(out.to(), rows, cols, Eigen::OuterStride<>(out.stride));
  as_stored(
      a, [&](const auto& left) { as_stored(b, [&](const auto& right) { f(left, right, to); }); });
}

/// Room for the packed panels of a product, which every thread keeps: an allocator gives memory of
/// this size back to the system after each product, and then the next one waits for fresh pages.
class Panels : public Eigen::internal::level3_blocking<double, double> {
 public:
  /// `is_whole`: all columns of the right side are packed at once.
  Panels(Index rows, Index cols, Index depth, bool is_whole = false) {
    constexpr Index line = 8;
    m_mc = rows, m_nc = cols, m_kc = depth;
    Eigen::internal::computeProductBlockingSizes<double, double>(m_kc, m_mc, m_nc, Index{1});
    if (is_whole) m_nc = cols;
    const Index left = (m_mc * m_kc + line - 1) / line * line, right = m_kc * m_nc;
    thread_local Vector room;
    if (room.size() < left + right) room.resize(left + right);
    m_blockA = room.data();
    m_blockB = room.data() + left;
  }
};

/// The half `Half` of to += scale a a^T, `to` by columns.
template <int Half, int Order>
void add_half(const ConstMap<Order>& a, Out& to, double scale) {
  constexpr int transposed = Order == Eigen::RowMajor ? Eigen::ColMajor : Eigen::RowMajor;
  const Index n = a.rows(), depth = a.cols();
  if (n == 0 || depth == 0) return;
  Panels panels(n, n, depth, true);
  Eigen::internal::general_matrix_matrix_triangular_product<
      Index, double, Order, false, double, transposed, false, Eigen::ColMajor, 1,
      Half>::run(n, depth, a.data(), a.outerStride(), a.data(), a.outerStride(), to.data(), 1,
                 to.outerStride(), scale, panels);
}

/// to += scale left right.
template <int Left, int Right>
void add(const ConstMap<Left>& left, const ConstMap<Right>& right, Out& to, double scale) {
  constexpr Index on_stack = EIGEN_STACK_ALLOCATION_LIMIT / static_cast<Index>(sizeof(double));
  const Index rows = to.rows(), cols = to.cols(), depth = left.cols();
  if (rows > 1 && cols > 1 && depth * std::max(rows, cols) > on_stack) {
    Panels panels(rows, cols, depth);
    Eigen::internal::general_matrix_matrix_product<Index, double, Left, false, double, Right, false,
                                                   Eigen::ColMajor, 1>::run(rows, cols, depth,
                                                                            left.data(),
                                                                            left.outerStride(),
                                                                            right.data(),
                                                                            right.outerStride(),
                                                                            to.data(), 1,
                                                                            to.outerStride(), scale,
                                                                            panels);
  } else if (scale == 1.0) {
    to.noalias() += left * right;
  } else {
    to.noalias() += scale * left * right;
  }
}

void require_fit(const ConstView& a, const ConstView& b, const View& out) {
  require(a.cols == b.rows && out.rows == a.rows && out.cols == b.cols,
          "the shapes of a matrix product do not fit");
}

/// Calls f(m) with m a matrix that may be changed in place, stored as b is.
template <class Function>
void in_place(const View& b, Index side, Function&& f) {
  require(b.rows == side, "a right side and a factor differ in size");
  if (b.rows == 0 || b.cols == 0) return;  // Eigen would refer to entries that are not there
  const Eigen::OuterStride<> stride(b.stride);
  if (b.cols == 1 && (!b.is_row_major || b.stride == 1)) {
    f(Eigen::Map<Vector>(b.to(), b.rows));  // reads the factor as it lies; a matrix has it packed
  } else if (b.is_row_major) {
    f(Eigen::Map<RowMatrix, 0, Eigen::OuterStride<>>(b.to(), b.rows, b.cols, stride));
  } else {
    f(Out(b.to(), b.rows, b.cols, stride));
  }
}

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
  RowMatrix y(x.rows(), x.cols());
  set_product(q.transpose(), RowMatrix(x / scale), y);
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

void set_product(ConstView a, ConstView b, View out) {
  require_fit(a, b, out);
  as_columns(a, b, out, [](const auto& left, const auto& right, Out& to) {
    to.setZero();
    add(left, right, to, 1.0);
  });
}

Matrix product(ConstView a, ConstView b) {
  Matrix out(a.rows, b.cols);
  set_product(a, b, out);
  return out;
}

void add_product(ConstView a, ConstView b, View out, double scale) {
  require_fit(a, b, out);
  as_columns(a, b, out, [scale](const auto& left, const auto& right, Out& to) {
    add(left, right, to, scale);
  });
}

void add_gram(ConstView a, View out, double scale) {
  require(out.rows == a.rows && out.cols == a.rows, "a Gram matrix must be (n, n)");
  if (a.rows == 0 || a.cols == 0) return;  // Eigen would refer to entries that are not there
  Out to(out.to(), out.rows, out.cols, Eigen::OuterStride<>(out.stride));
  as_stored(a, [&](const auto& m) {
    if (out.is_row_major) {
      add_half<Eigen::Upper>(m, to, scale);
    } else {
      add_half<Eigen::Lower>(m, to, scale);
    }
  });
}

bool Cholesky::compute(const Matrix& a) {
  require(a.rows() == a.cols(), "a matrix to be factored must be square");
  lower_ = a;
  const Eigen::LLT<Eigen::Ref<Matrix>> factor(lower_);  // in place
  return factor.info() == Eigen::Success;
}

void Cholesky::halve_in_place(View b) const {
  in_place(b, lower_.rows(),
           [&](auto&& m) { lower_.triangularView<Eigen::Lower>().solveInPlace(m); });
}

void Cholesky::finish_in_place(View b) const {
  in_place(b, lower_.rows(),
           [&](auto&& m) { lower_.triangularView<Eigen::Lower>().adjoint().solveInPlace(m); });
}

void Cholesky::solve_in_place(View b) const {
  halve_in_place(b);
  finish_in_place(b);
}

double Cholesky::log_det() const {
  return 2.0 * lower_.diagonal().array().log().sum();
}

double Cholesky::smallest_pivot() const {
  return lower_.diagonal().cwiseAbs2().minCoeff();
}

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
  if (is_wide) {
    RowMatrix v(m, x.cols());
    set_product(q.transpose(), x, v);
    v.array().colwise() /= s.array();
    return {q, s, std::move(v)};
  }
  Matrix u(x.rows(), m);
  set_product(x, q, u);
  u.array().rowwise() /= s.transpose().array();
  return {std::move(u), s, q.transpose()};
}

ThinSvd thin_svd(const ConstRowMatrixView& x) {
  const Index m = std::min(x.rows(), x.cols());
  if (m == 0) return {Matrix(x.rows(), 0), Vector(0), RowMatrix(0, x.cols())};
  Matrix gram = Matrix::Zero(m, m);
  add_gram(x.rows() <= x.cols() ? ConstView(x) : ConstView(x).transpose(), gram);
  const SymmetricEigen eigen = symmetric_eigen(gram);  // reads the lower half
  return thin_svd(x, eigen.values, eigen.vectors);
}

}  // namespace retemper::numerics

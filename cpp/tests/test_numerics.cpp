// The numerical floor as C++ uses it: several integrands at once, fixed rules, roots, stiff
// systems, decompositions, and stops.
#include <cmath>
#include <stdexcept>
#include <utility>

#include "check.hpp"
#include "retemper/numerics/bdf.hpp"
#include "retemper/numerics/gauss_hermite.hpp"
#include "retemper/numerics/linalg.hpp"
#include "retemper/numerics/normal_stream.hpp"
#include "retemper/numerics/orthant.hpp"
#include "retemper/numerics/panel_rule.hpp"
#include "retemper/numerics/root.hpp"

using namespace retemper;
using namespace retemper::numerics;
using tests::throws;

namespace {

bool is_near(double a, double b, double tol) {
  return std::abs(a - b) <= tol;
}

void several_integrands_share_their_panels() {
  Index n_calls = 0;
  const Integrand f = [&](const Vector& x, RowMatrix& out) {
    ++n_calls;
    CHECK(out.rows() == 3 && out.cols() == x.size());
    out.row(0) = x.array().square();
    out.row(1) = (x.array() - 0.3).abs();
    out.row(2) = (x.array() * 5.0).exp();
  };
  const PanelResult r = gaussian_average(f, 3, Vector());
  CHECK(r.status == Status::converged && r.residual <= 1e-12 && n_calls < 30);
  const double kink = 0.3 * std::erf(0.3 / std::sqrt(2.0)) +
                      std::sqrt(2.0 / 3.14159265358979324) * std::exp(-0.045);
  CHECK(is_near(r.integral[0].value, 1.0, 4e-15));
  CHECK(is_near(r.integral[1].value, kink, r.integral[1].error));
  CHECK(is_near(r.integral[2].value / std::exp(12.5), 1.0, 4e-15));
}

void fixed_rule_has_its_error() {
  Vector breaks(2);
  breaks << 0.4, -1.0;
  const Vector edges = refine_edges(panel_edges(-13.0, 13.0, breaks), 1.0);
  for (Index order : {5, 16, 24, 48}) {
    const PanelNodes panel(order);
    const PanelRule rule(edges, Measure::gaussian, panel);
    const Estimate e = rule.integrate((3.0 * rule.node().array()).cos().matrix());
    CHECK(is_near(e.value, std::exp(-4.5), e.error + 1e-16));
    CHECK(order < 24 || e.error < 1e-13);
    CHECK(rule.node().size() == (edges.size() - 1) * order);
  }
  const PanelNodes coarse(5);  // too coarse, and it knows: the error is seen, and covered
  const PanelRule few(edges, Measure::gaussian, coarse);
  const Estimate wave = few.integrate((15.0 * few.node().array()).cos().matrix());
  const double off = std::abs(wave.value - std::exp(-112.5));
  CHECK(off > 1e-8 && off <= wave.error);
  const PanelRule rule(edges, Measure::length);
  CHECK(is_near(rule.weight().sum(), 26.0, 1e-13));
  CHECK(throws<ArgumentError>([&] { rule.integrate(Vector::Zero(3)); }));
  CHECK(throws<ArgumentError>([] { PanelNodes(4); }));
}

void edges_are_sorted_and_distinct() {
  Vector breaks(6);
  breaks << 3.0, -1.0, 0.5, std::nextafter(0.5, 1.0), 2.0, 0.5;
  Vector want(4);
  want << -1.0, 0.5, 2.0, 3.0;
  CHECK(panel_edges(-1.0, 3.0, breaks) == want);
  CHECK(panel_edges(0.0, 1.0, Vector()).size() == 2);
  CHECK(throws<ArgumentError>([] { panel_edges(1.0, 1.0, Vector()); }));
  Vector bad(1);
  bad << std::nan("");
  CHECK(throws<ArgumentError>([&] { panel_edges(0.0, 1.0, bad); }));
}

void rules_refuse_no_order() {
  CHECK(throws<ArgumentError>([] { gauss_hermite_rule(0); }));
  CHECK(throws<ArgumentError>([] { gauss_legendre_rule(-3); }));
  CHECK(gauss_hermite_rule(1).node[0] == 0.0 && gauss_legendre_rule(1).weight[0] == 2.0);
}

/// The root lies where the sign changes, is found in few evaluations, and its residual is f there.
template <class Function>
void has_root_at(double want, double low, double high, Function&& f) {
  Index n = 0;
  const auto counted = [&](double x) { return ++n, f(x); };
  const Root r = bracketed_root(counted, low, high);
  CHECK(r.status == Status::converged && r.n_iter == n && n <= 80);
  CHECK(is_near(r.x, want, 4e-15 * std::abs(want)));
  CHECK(r.residual == f(r.x));
  const double step = 4e-15 * std::abs(r.x) + 1e-300;
  CHECK(r.residual == 0.0 || f(r.x - step) * f(r.x + step) <= 0.0);
}

void roots_of_easy_and_hard_functions() {
  has_root_at(std::sqrt(2.0), 0.0, 2.0, [](double x) { return x * x - 2.0; });
  has_root_at(0.73908513321516064, -10.0, 10.0, [](double x) { return std::cos(x) - x; });
  has_root_at(8.0 * std::log(10.0), -50.0, 100.0, [](double x) { return std::exp(x) - 1e8; });
  has_root_at(0.37, -4.0, 9.0, [](double x) { return std::tanh(20.0 * (x - 0.37)); });
  has_root_at(std::exp(-5.0), 1e-9, 1.0, [](double x) { return std::log(x) + 5.0; });
  has_root_at(0.1, -1.0, 2.0, [](double x) { return std::cbrt(x - 0.1); });
  CHECK(bracketed_root([](double x) { return x - 1.0; }, 1.0, 2.0).x == 1.0);
  CHECK(bracketed_root([](double x) { return x - 2.0; }, 1.0, 2.0).x == 2.0);
}

void roots_say_how_they_ended() {
  const auto cubic = [](double x) { return x * x * x - 2.0; };
  const Root coarse = bracketed_root(cubic, 0.0, 4.0, {200, 1e-3});
  CHECK(is_near(coarse.x / std::cbrt(2.0), 1.0, 1e-3));
  CHECK(coarse.n_iter < bracketed_root(cubic, 0.0, 4.0).n_iter);
  const Root early = bracketed_root(cubic, 0.0, 4.0, {4, 0.0});
  CHECK(early.status == Status::max_iter && early.n_iter == 4 && early.residual != 0.0);
  const Root none = bracketed_root([](double x) { return x * x + 1.0; }, -1.0, 2.0);
  CHECK(none.status == Status::no_solution && none.n_iter == 2 && none.x == -1.0);
  CHECK(throws<ArgumentError>([&] { bracketed_root(cubic, 1.0, 1.0); }));
  CHECK(throws<NumericalError>([] {
    bracketed_root([](double x) { return x == 0.5 ? std::nan("") : x - 0.3; }, 0.0, 1.0);
  }));
}

void root_is_reused_from_a_bracket() {
  Index n = 0;
  const auto f = [&](double x) { return ++n, std::exp(x) - 3.0; };
  const Bracket b = bracket(f, 0.0, 2.0);
  CHECK(b.has_root() && n == 2);
  const Root r = bracketed_root(f, b);
  CHECK(r.status == Status::converged && r.n_iter == n);
  CHECK(is_near(r.x, std::log(3.0), 1e-15));
}

/// The rotation y' = (y2, -y1), whose solution is periodic and never dies out.
struct Rotation {
  double shift = 0.0;
  StiffSystem system{[](const Vector& y, Vector& dy) { dy << y[1], -y[0]; },
                     [this](const Vector&, double s, bool) { shift = s; },
                     [this](Vector& b) {  // (shift I - J) x = b
                       const double d = shift * shift + 1.0, first = b[0];
                       b[0] = (shift * first + b[1]) / d;
                       b[1] = (shift * b[1] - first) / d;
                     }};
};

void bdf_follows_a_rotation() {
  Rotation turn;
  Control control;
  const Vector times = Vector::LinSpaced(50, 0.0, 10.0);
  const Trajectory found =
      integrate_bdf(turn.system, 0.0, Vector::Unit(2, 0), times, {1e-9, 1e-11, 100000}, control);
  CHECK(found.status == Status::converged && found.y.rows() == 50 && found.t >= 10.0);
  for (Index i = 0; i < times.size(); ++i) {
    CHECK(is_near(found.y(i, 0), std::cos(times[i]), 2e-6));
    CHECK(is_near(found.y(i, 1), -std::sin(times[i]), 2e-6));
  }
  const Trajectory cut =
      integrate_bdf(turn.system, 0.0, Vector::Unit(2, 0), times, {1e-9, 1e-11, 30}, control);
  CHECK(cut.status == Status::max_iter && cut.y.rows() < 50);
  CHECK(cut.n_steps + cut.n_rejected == 30);
}

void long_integration_can_be_stopped() {
  Rotation turn;
  Control control([](Index, Index) { throw std::out_of_range("stop"); });
  CHECK(throws<std::out_of_range>([&] {
    integrate_bdf(turn.system, 0.0, Vector::Ones(2), Vector::Constant(1, 1e12),
                  {1e-8, 1e-10, Index{1} << 60}, control);
  }));
}

RowMatrix normal_matrix(Index rows, Index cols) {
  RowMatrix out(rows, cols);
  fill_normal(Stream({1, 2}, 3), 0, out.size(), out.data());
  return out;
}

/// Every combination of orders, blocks and transposes gives the sums written out.
void products_take_any_order() {
  const RowMatrix a = normal_matrix(37, 23), b = normal_matrix(23, 41);
  const Matrix a_cols = a, b_cols = b;
  RowMatrix want(37, 41);
  for (Index i = 0; i < 37; ++i) {
    for (Index j = 0; j < 41; ++j) {
      want(i, j) = 0.0;
      for (Index k = 0; k < 23; ++k) want(i, j) += a(i, k) * b(k, j);
    }
  }
  RowMatrix rows(37, 41);
  Matrix cols(37, 41);
  RowMatrix large = RowMatrix::Constant(50, 60, 7.0);
  for (const ConstView& left : {ConstView(a), ConstView(a_cols)}) {
    for (const ConstView& right : {ConstView(b), ConstView(b_cols)}) {
      set_product(left, right, rows);
      set_product(left, right, cols);
      set_product(left, right, large.block(3, 4, 37, 41));
      CHECK((rows - want).cwiseAbs().maxCoeff() < 1e-13);
      CHECK((cols - want).cwiseAbs().maxCoeff() < 1e-13);
      CHECK((large.block(3, 4, 37, 41) - want).cwiseAbs().maxCoeff() < 1e-13);
      add_product(left, right, rows, -0.5);
      CHECK((rows - 0.5 * want).cwiseAbs().maxCoeff() < 1e-13);
      set_product(right.transpose(), left.transpose(), rows.transpose());
      CHECK((rows - want).cwiseAbs().maxCoeff() < 1e-13);
    }
  }
  CHECK(large(2, 10) == 7.0 && large(40, 4) == 7.0 && large(3, 3) == 7.0 && large(3, 45) == 7.0);
  Vector one(37);
  set_product(a, b_cols.col(5), one);
  CHECK((one - want.col(5)).cwiseAbs().maxCoeff() < 1e-13);
  set_product(RowMatrix(37, 0), RowMatrix(0, 41), rows);
  CHECK(rows.isZero(0.0));
  CHECK(throws<ArgumentError>([&] { set_product(a, a, rows); }));
}

void factor_solves_on_either_side() {
  constexpr Index n = 31;
  const RowMatrix x = normal_matrix(n, 2 * n), b = normal_matrix(n, 9);
  Matrix a = Matrix::Constant(n, n, 3.0);  // the upper half is not read
  a.triangularView<Eigen::Lower>().setZero();
  add_gram(x, a, 2.0);
  const Matrix whole = a.selfadjointView<Eigen::Lower>();
  CHECK((whole - 2.0 * x * x.transpose()).cwiseAbs().maxCoeff() < 1e-12);
  Cholesky factor;
  CHECK(factor.compute(a));
  RowMatrix rows = b;
  Matrix cols = b;
  factor.solve_in_place(rows);
  factor.solve_in_place(cols);
  CHECK((whole * rows - b).cwiseAbs().maxCoeff() < 1e-11);
  CHECK((whole * cols - b).cwiseAbs().maxCoeff() < 1e-11);
  Matrix half = whole;
  factor.halve_in_place(half);
  factor.halve_in_place(half.transpose());
  CHECK((half - Matrix::Identity(n, n)).cwiseAbs().maxCoeff() < 1e-11);
  factor.finish_in_place(half);
  factor.finish_in_place(half.transpose());
  CHECK((half * whole - Matrix::Identity(n, n)).cwiseAbs().maxCoeff() < 1e-11);
  const Vector values = symmetric_eigen(whole).values;
  CHECK(is_near(factor.log_det(), values.array().log().sum(), 1e-11));
  CHECK(factor.smallest_pivot() >= values[0] && factor.smallest_pivot() <= whole(n - 1, n - 1));
  a(4, 4) = -1.0;
  CHECK(!factor.compute(a));
  Vector wrong(n + 1);
  CHECK(throws<ArgumentError>([&] { factor.solve_in_place(wrong); }));
}

Matrix orthonormal(Index n) {
  const RowMatrix a = normal_matrix(n, n);
  return symmetric_eigen(a + a.transpose()).vectors;
}

void is_thin_svd(const RowMatrix& x, const ThinSvd& found, Index rank) {
  const double tol = 1e-14 * static_cast<double>(x.rows() + x.cols());
  CHECK(found.s.size() == rank && found.u.cols() == rank && found.v.rows() == rank);
  const Matrix one = Matrix::Identity(rank, rank);
  CHECK((found.u.transpose() * found.u - one).cwiseAbs().maxCoeff() < tol);
  CHECK((found.v * found.v.transpose() - one).cwiseAbs().maxCoeff() < tol);
  const RowMatrix back = found.u * found.s.asDiagonal() * found.v;
  CHECK((back - x).cwiseAbs().maxCoeff() < tol * found.s[0]);
  for (Index k = 1; k < rank; ++k) CHECK(found.s[k] <= found.s[k - 1]);
}

/// Singular values over many orders of magnitude come out, each with its own digits.
void singular_values_keep_their_digits() {
  for (const auto& [n, d] : {std::pair<Index, Index>{12, 20}, {20, 12}, {12, 12}}) {
    const Index m = std::min(n, d);
    const Matrix left = orthonormal(n).leftCols(m), right = orthonormal(d).topRows(m);
    for (const double smallest : {0.5, 1e-4, 1e-7, 1e-11}) {
      Vector s(m);
      for (Index k = 0; k < m; ++k)
        s[k] = 3.0 * std::pow(smallest, static_cast<double>(k) / static_cast<double>(m - 1));
      for (const double unit : {1.0, 1e-200, 1e150}) {
        const RowMatrix x = unit * (left * s.asDiagonal() * right);
        const ThinSvd found = thin_svd(x);
        is_thin_svd(x, found, m);
        // rounding of the entries moves each value by eps times the largest
        for (Index k = 0; k < std::min(m, found.s.size()); ++k)
          CHECK(is_near(found.s[k] / unit, s[k], 1e-14));
      }
    }
  }
}

void rank_is_found() {
  const RowMatrix x = normal_matrix(15, 3) * normal_matrix(3, 9);
  is_thin_svd(x, thin_svd(x), 3);
  is_thin_svd(x.transpose(), thin_svd(x.transpose()), 3);
  CHECK(thin_svd(RowMatrix::Zero(4, 5)).s.size() == 0);
  CHECK(thin_svd(RowMatrix(0, 5)).v.cols() == 5);
  RowMatrix bad = x;
  bad(1, 1) = std::nan("");
  CHECK(throws<NumericalError>([&] { thin_svd(bad); }));
}

void tridiagonal_matrix_has_known_eigenvalues() {
  constexpr Index n = 9;
  const SymmetricEigen found = tridiagonal_eigen(Vector::Zero(n), Vector::Ones(n - 1), true);
  for (Index k = 0; k < n; ++k) {
    const double angle = static_cast<double>(n - k) * 3.14159265358979324 / (n + 1);
    CHECK(is_near(found.values[k], 2.0 * std::cos(angle), 1e-14));
  }
  Matrix whole = Matrix::Zero(n, n);
  whole.diagonal(-1).setOnes();
  const SymmetricEigen same = symmetric_eigen(whole);  // the upper half is not read
  CHECK((same.values - found.values).cwiseAbs().maxCoeff() < 1e-14);
  whole.diagonal(1).setOnes();
  CHECK((whole * same.vectors - same.vectors * same.values.asDiagonal()).norm() < 1e-14);
  CHECK(tridiagonal_eigen(Vector::Zero(n), Vector::Ones(n - 1), false).vectors.size() == 0);
}

void orthants_of_four_have_known_values() {
  Matrix c = Matrix::Constant(4, 4, 1.0);
  c.diagonal().setConstant(2.0);  // a common part of half the variance: one order in five
  CHECK(is_near(orthant_probability(c.data(), 4, 4), 0.2, 1e-14));
  const double pair = 0.25 + std::asin(0.9) / (2.0 * 3.14159265358979324);
  c.setIdentity();
  c(0, 1) = c(1, 0) = 0.9;
  c(2, 3) = c(3, 2) = -0.3;
  const double other = 0.25 + std::asin(-0.3) / (2.0 * 3.14159265358979324);
  CHECK(is_near(orthant_probability(c.data(), 4, 4), pair * other, 1e-14));
  const Index order[] = {2, 0, 3, 1};
  RowMatrix w = normal_matrix(4, 5), turned(4, 4);
  for (const double gap : {1.0, 1e-3, 1e-6}) {  // the last: two pairs of almost equal variables
    w.row(1) = w.row(0) + gap * normal_matrix(1, 5);
    w.row(3) = w.row(2) + gap * normal_matrix(1, 5);
    const RowMatrix whole = w * w.transpose();
    for (Index i = 0; i < 4; ++i)
      for (Index j = 0; j < 4; ++j) turned(i, j) = whole(order[i], order[j]);
    const double one = orthant_probability(whole.data(), 4, 4);
    CHECK(is_near(one, orthant_probability(turned.data(), 4, 4), 1e-8));
    // both signs of the last one make the orthant of three
    RowMatrix flipped = whole;
    flipped.row(3) *= -1.0;
    flipped.col(3) *= -1.0;
    CHECK(is_near(one + orthant_probability(flipped.data(), 4, 4),
                  orthant_probability(whole.data(), 3, 4), 1e-7));
    PositiveProducts product(whole);
    CHECK(is_near(product(0, 1, 2, 3), product(1, 0, 3, 2), 1e-7));
  }
  CHECK(throws<ArgumentError>([&] { orthant_probability(c.data(), 5, 4); }));
  // of one variable and of two: half the variance, and the kernel of relu units
  RowMatrix two(2, 2);
  two << 2.0, 0.6, 0.6, 1.0;
  PositiveProducts product(two);
  CHECK(is_near(product(0, 0, 0, 0), 1.0, 1e-9));
  const double rho = 0.6 / std::sqrt(2.0), turn = std::acos(-rho);
  const double kernel =
      std::sqrt(2.0) * (std::sqrt(1.0 - rho * rho) + turn * rho) / (2.0 * 3.14159265358979324);
  CHECK(is_near(product(0, 1, 0, 1), kernel, 1e-9));
}

}  // namespace

int main() {
  several_integrands_share_their_panels();
  fixed_rule_has_its_error();
  edges_are_sorted_and_distinct();
  rules_refuse_no_order();
  roots_of_easy_and_hard_functions();
  roots_say_how_they_ended();
  root_is_reused_from_a_bracket();
  orthants_of_four_have_known_values();
  bdf_follows_a_rotation();
  long_integration_can_be_stopped();
  products_take_any_order();
  factor_solves_on_either_side();
  singular_values_keep_their_digits();
  rank_is_found();
  tridiagonal_matrix_has_known_eigenvalues();
  return tests::n_failed;
}

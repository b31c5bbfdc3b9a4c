// The learning-phase kernels on ragged sizes: sums, products, hits, training, and stops.
#include <cmath>
#include <stdexcept>
#include <vector>

#include "check.hpp"
#include "retemper/core/error.hpp"
#include "retemper/numerics/linalg.hpp"
#include "retemper/phases/fold_moments.hpp"
#include "retemper/phases/linearised.hpp"
#include "retemper/phases/mlp.hpp"

using namespace retemper;
using namespace retemper::phases;
using tests::throws;

namespace {

double entry(Index i, Index j) {
  return std::sin(1.0 + 0.7 * static_cast<double>(i) + 1.3 * static_cast<double>(j * j));
}

RowMatrix filled(Index rows, Index columns, Index offset) {
  RowMatrix m(rows, columns);
  for (Index i = 0; i < rows; ++i)
    for (Index j = 0; j < columns; ++j) m(i, j) = entry(i + offset, j);
  return m;
}

void sums_products_and_hits_on_ragged_sizes() {
  const Index n = 601, h = 131, q = 517, folds = 3;  // one more than every block
  const RowMatrix H = filled(n, h, 0), T = filled(n, q, 5);
  std::vector<Index> fold(static_cast<std::size_t>(n));
  for (Index i = 0; i < n; ++i) fold[static_cast<std::size_t>(i)] = (i * i) % folds;
  const Vector zero_h = Vector::Zero(h), zero_t = Vector::Zero(q);
  FoldSums one(folds, zero_h, zero_t), two = one, single = one;
  const Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor> F = H.cast<float>();
  Control control;
  const Batch<double> batch{n, H.data(), T.data(), fold.data()};
  const Batch<float> rounded{n, F.data(), T.data(), fold.data()};
  add_batch(one, batch, Precision::float64, 1, control);
  add_batch(two, batch, Precision::float64, 3, control);
  add_batch(single, rounded, Precision::float32, 1, control);
  CHECK(one.hh == two.hh && one.ht == two.ht && one.tt == two.tt);
  CHECK((one.ht - single.ht).cwiseAbs().maxCoeff() < 1e-3);
  CHECK(one.count.sum() == static_cast<double>(n));

  Matrix gram = Matrix::Zero(h, h), cross = Matrix::Zero(h, q);
  for (Index f = 0; f < folds; ++f) {
    const Eigen::Map<const RowMatrix> lower(one.hh.data() + f * h * h, h, h);
    const Matrix whole = lower.selfadjointView<Eigen::Lower>();
    gram += whole;
    cross += Eigen::Map<const RowMatrix>(one.ht.data() + f * h * q, h, q);
  }
  CHECK((gram - H.transpose() * H).cwiseAbs().maxCoeff() < 1e-10);
  CHECK((cross - H.transpose() * T).cwiseAbs().maxCoeff() < 1e-10);

  const Index first = 3, last = 514;
  const RowMatrix all = whole_products(one, first, last, 2, control);
  const TargetProducts got = target_products(one, all, 1, first, last, 2, control);
  Vector mh = Vector::Zero(h), mt = Vector::Zero(q);
  double rest = 0.0;
  for (Index i = 0; i < n; ++i)
    if (fold[static_cast<std::size_t>(i)] != 1) {
      mh += H.row(i).transpose();
      mt += T.row(i).transpose();
      rest += 1.0;
    }
  mh /= rest;
  mt /= rest;
  Matrix train = Matrix::Zero(h, q), held = Matrix::Zero(h, q);
  for (Index i = 0; i < n; ++i) {
    Matrix& to = fold[static_cast<std::size_t>(i)] == 1 ? held : train;
    to += (H.row(i).transpose() - mh) * (T.row(i) - mt.transpose());
  }
  const Matrix b = train.middleCols(first, last - first), c = held.middleCols(first, last - first);
  CHECK((got.train - b * b.transpose()).cwiseAbs().maxCoeff() < 1e-7);
  const Matrix both = b * c.transpose();
  CHECK((got.cross - 0.5 * (both + both.transpose())).cwiseAbs().maxCoeff() < 1e-7);

  const Matrix basis = filled(h, 97, 11);
  const RowMatrix some = turned(got.train, basis, 2, control);
  CHECK((some - basis.transpose() * got.train * basis).cwiseAbs().maxCoeff() <
        1e-10 * some.cwiseAbs().maxCoeff());
  CHECK(some == turned(got.train, basis, 1, control));

  const RowMatrix P = filled(57, 9, 2), Z = filled(9, 5, 4), c2 = filled(3, 9, 1);
  const Vector mean = filled(5, 1, 0).col(0);
  std::vector<Index> label(57);
  for (Index i = 0; i < 57; ++i) label[static_cast<std::size_t>(i)] = (i * 7) % 5;
  const Vector hits = count_hits(P, c2, Z, mean, label.data(), 2);
  for (Index k = 0; k < 3; ++k) {
    double want = 0.0;
    for (Index i = 0; i < 57; ++i) {
      const Vector score = (P.row(i).cwiseProduct(c2.row(k)) * Z).transpose() + mean;
      Index at = 0;
      score.maxCoeff(&at);
      want += at == label[static_cast<std::size_t>(i)] ? 1.0 : 0.0;
    }
    CHECK(hits[k] == want);
  }
  label[3] = 5;
  CHECK(throws<ArgumentError>([&] { count_hits(P, c2, Z, mean, label.data(), 1); }));
  fold[0] = folds;
  CHECK(throws<ArgumentError>([&] { add_batch(one, batch, Precision::float64, 1, control); }));
  CHECK(throws<ArgumentError>([&] { target_products(one, all, 3, 0, q, 1, control); }));
}

void training_of_odd_sizes_and_its_stops() {
  MlpProblem problem;
  problem.sizes = {7, 13, 1, 5};
  problem.activation = Activation::tanh;
  problem.batch_size = 131;
  const Index n = 300;
  const RowMatrix X = filled(n, 7, 0);
  RowMatrix Y = RowMatrix::Zero(n, 5);
  for (Index i = 0; i < n; ++i) Y(i, i % 5) = 1.0;
  const Index n_par = n_parameters(problem.sizes);
  CHECK(n_par == 7 * 13 + 13 + 13 + 1 + 5 + 5);
  const MlpState start{0.5 * filled(n_par, 1, 3).col(0), Vector::Zero(n_par), 0, {}};
  Control control;
  const MlpState whole = train(problem, start, X, Y, {1, 2}, 9, 1, control);
  const MlpState half = train(problem, start, X, Y, {1, 2}, 4, 3, control);
  const MlpState both = train(problem, half, X, Y, {1, 2}, 5, 2, control);
  CHECK(half.step == 4 && both.step == 9);
  CHECK(whole.parameters == both.parameters && whole.velocity == both.velocity);
  CHECK(whole.loss.tail(5) == both.loss && whole.loss.allFinite());
  const MlpState short_one{Vector::Zero(3), Vector::Zero(n_par), 0, {}};
  CHECK(throws<ArgumentError>([&] { train(problem, short_one, X, Y, {1, 2}, 1, 1, control); }));
  problem.learning_rate = 1e200;
  problem.loss = Loss::squared;
  CHECK(throws<NumericalError>([&] { train(problem, start, X, Y, {1, 2}, 50, 1, control); }));
  problem.learning_rate = 1e-9;
  Control stopping([](Index done, Index total) {
    if (done > 0 && total == 100'000'000) throw std::runtime_error("stop");
  });
  CHECK(throws<std::runtime_error>(
      [&] { train(problem, start, X, Y, {1, 2}, 100'000'000, 2, stopping); }));
}

void a_linear_network_is_its_own_linearisation() {
  const Index n = 150;  // more than a shard
  const RowMatrix X = filled(n, 3, 0), Y = filled(n, 2, 4);
  MlpProblem problem;
  problem.sizes = {3, 2};
  problem.loss = Loss::squared;
  problem.weight_decay = 0.2;
  const Vector start = filled(8, 1, 7).col(0);
  Control control;
  const Vector times = Vector::LinSpaced(3, 0.0, 400.0);
  const auto path = linearised_flow(problem, start, X, Y, times, {1e-8, 1e-10, 100000}, control);
  CHECK(path.y.rows() == 3 && path.y.row(0).isZero());
  // the end is ridge regression with a bias that is not shrunk
  const RowMatrix x = X.rowwise() - X.colwise().mean(), y = Y.rowwise() - Y.colwise().mean();
  const Matrix gram = x.transpose() * x / n + 0.2 * Matrix::Identity(3, 3);
  RowMatrix w = x.transpose() * y / n;
  numerics::Cholesky chol;
  CHECK(chol.compute(gram));
  chol.solve_in_place(w);
  const Vector end = start + path.y.row(2).transpose();
  CHECK((Eigen::Map<const RowMatrix>(end.data(), 3, 2) - w).cwiseAbs().maxCoeff() < 1e-6);
  const Vector bias = (Y.colwise().mean() - X.colwise().mean() * w).transpose();
  CHECK((end.tail(2) - bias).cwiseAbs().maxCoeff() < 1e-6);
  CHECK(throws<ArgumentError>(
      [&] { linearised_flow(problem, start.head(7), X, Y, times, {}, control); }));
}

}  // namespace

int main() {
  sums_products_and_hits_on_ragged_sizes();
  training_of_odd_sizes_and_its_stops();
  a_linear_network_is_its_own_linearisation();
  return tests::n_failed;
}

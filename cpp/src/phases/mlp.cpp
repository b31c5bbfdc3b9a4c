#include "retemper/phases/mlp.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <string>

#include "retemper/core/error.hpp"
#include "retemper/core/parallel.hpp"
#include "retemper/numerics/linalg.hpp"
#include "retemper/numerics/vector_math.hpp"

namespace retemper::phases {

namespace {

namespace vm = numerics::vm;

constexpr Index shard_rows = 128;
constexpr std::uint64_t order_purpose = 3;

using Map = Eigen::Map<RowMatrix>;
using ConstMap = Eigen::Map<const RowMatrix>;

/// Where the weights and biases of a layer lie.
struct Layer {
  Index in, out, weights, biases;
};

std::vector<Layer> layers_of(const std::vector<Index>& sizes) {
  std::vector<Layer> layers;
  Index at = 0;
  for (std::size_t i = 0; i + 1 < sizes.size(); ++i) {
    const Index in = sizes[i], out = sizes[i + 1];
    layers.push_back({in, out, at, at + in * out});
    at += in * out + out;
  }
  return layers;
}

/// Everything a shard of a batch needs, made once.
struct Shard {
  std::vector<RowMatrix> a;  // (shard_rows, units) activations, inputs first, outputs last
  std::vector<RowMatrix> delta;
  RowMatrix target;
  Vector gradient;
  double loss = 0.0;
};

/// z (n, k) plus the biases, through the activation where there is one.
template <class Function>
void add_bias(double* z, const double* bias, Index n, Index k, Function f) {
  for (Index i = 0; i < n; ++i) {
    double* row = z + i * k;
#pragma omp simd
    for (Index j = 0; j < k; ++j) row[j] = f(row[j] + bias[j]);
  }
}

void activate(Activation kind, bool is_output, double* z, const double* bias, Index n, Index k) {
  if (is_output) {
    add_bias(z, bias, n, k, [](double x) { return x; });
  } else if (kind == Activation::relu) {
    add_bias(z, bias, n, k, [](double x) { return x > 0.0 ? x : 0.0; });
  } else {
    add_bias(z, bias, n, k, [](double x) {
      const double e = vm::exp(-2.0 * std::fabs(x));
      return std::copysign((1.0 - e) / (1.0 + e), x);
    });
  }
}

/// out (k,) = sum over the rows of delta (n, k).
void sum_rows(const double* delta, Index n, Index k, double* out) {
  std::fill(out, out + k, 0.0);
  for (Index i = 0; i < n; ++i) {
    const double* row = delta + i * k;
#pragma omp simd
    for (Index j = 0; j < k; ++j) out[j] += row[j];
  }
}

/// delta *= activation'(z), given the activation a itself.
void through(Activation kind, const double* a, double* delta, Index n) {
  const bool is_relu = kind == Activation::relu;
#pragma omp simd
  for (Index i = 0; i < n; ++i) {
    const double on = a[i] > 0.0 ? 1.0 : 0.0;
    delta[i] *= is_relu ? on : 1.0 - a[i] * a[i];
  }
}

/// Sum of the losses of the rows; `out` becomes the derivative of the loss times `scale`.
double loss_and_slope(Loss kind, Map out, const ConstMap& target, double scale, RowMatrix& slope) {
  double total = 0.0;
  for (Index i = 0; i < out.rows(); ++i) {
    double* z = out.row(i).data();
    const double* y = target.row(i).data();
    double* d = slope.row(i).data();
    const Index k = out.cols();
    if (kind == Loss::squared) {
      for (Index j = 0; j < k; ++j) {
        d[j] = z[j] - y[j];
        total += 0.5 * d[j] * d[j];
      }
    } else {
      double top = z[0], sum = 0.0, dot = 0.0, mass = 0.0;
      for (Index j = 1; j < k; ++j) top = std::max(top, z[j]);
#pragma omp simd
      for (Index j = 0; j < k; ++j) d[j] = vm::exp(z[j] - top);
      for (Index j = 0; j < k; ++j) {
        sum += d[j];
        dot += y[j] * (z[j] - top);
        mass += y[j];
      }
      total += mass * vm::log(sum) - dot;
      for (Index j = 0; j < k; ++j) d[j] = mass * d[j] / sum - y[j];
    }
    for (Index j = 0; j < k; ++j) d[j] *= scale;
  }
  return total;
}

void run_shard(const MlpProblem& p, const std::vector<Layer>& layers, const Vector& parameters,
               const ConstRowMatrixView& X, const ConstRowMatrixView& Y, const Index* rows, Index n,
               double scale, Shard& s) {
  for (Index i = 0; i < n; ++i) {
    s.a[0].row(i) = X.row(rows[i]);
    s.target.row(i) = Y.row(rows[i]);
  }
  const std::size_t depth = layers.size();
  for (std::size_t l = 0; l < depth; ++l) {
    const Layer& layer = layers[l];
    const ConstMap w(parameters.data() + layer.weights, layer.in, layer.out);
    auto z = s.a[l + 1].topRows(n);
    numerics::set_product(s.a[l].topRows(n), w, z);
    activate(p.activation, l + 1 == depth, z.data(), parameters.data() + layer.biases, n,
             layer.out);
  }
  s.loss =
      loss_and_slope(p.loss, Map(s.a[depth].data(), n, layers.back().out),
                     ConstMap(s.target.data(), n, layers.back().out), scale, s.delta[depth - 1]);
  for (std::size_t l = depth; l-- > 0;) {
    const Layer& layer = layers[l];
    const auto delta = s.delta[l].topRows(n);
    numerics::set_product(s.a[l].topRows(n).transpose(), delta,
                          Map(s.gradient.data() + layer.weights, layer.in, layer.out));
    sum_rows(delta.data(), n, layer.out, s.gradient.data() + layer.biases);
    if (l == 0) break;
    const ConstMap w(parameters.data() + layer.weights, layer.in, layer.out);
    auto back = s.delta[l - 1].topRows(n);
    numerics::set_product(delta, w.transpose(), back);
    through(p.activation, s.a[l].data(), back.data(), n * layer.in);
  }
}

/// One step of the parameters [first, last).
void move(const MlpProblem& p, double decay, Index first, Index last, const Vector& gradient,
          MlpState& state) {
  const double* g = gradient.data();
  double* w = state.parameters.data();
  double* v = state.velocity.data();
#pragma omp simd
  for (Index i = first; i < last; ++i) {
    v[i] = p.momentum * v[i] + (g[i] + decay * w[i]);
    w[i] -= p.learning_rate * v[i];
  }
}

/// Order of the rows in an epoch, a pure function of (key, epoch): Fisher and Yates.
void shuffle(const PhiloxKey& key, Index epoch, std::vector<Index>& order,
             std::vector<std::uint64_t>& words) {
  std::iota(order.begin(), order.end(), Index{0});
  const auto n = static_cast<Index>(order.size());
  Stream(key, order_purpose, 0, static_cast<std::uint64_t>(epoch)).words(0, n, words.data());
  for (Index i = n - 1; i > 0; --i) {
    const double u = unit_uniform(words[static_cast<std::size_t>(i)]);
    const auto j = std::min(i, static_cast<Index>(u * static_cast<double>(i + 1)));
    std::swap(order[static_cast<std::size_t>(i)], order[static_cast<std::size_t>(j)]);
  }
}

}  // namespace

Index n_parameters(const std::vector<Index>& sizes) {
  Index n = 0;
  for (std::size_t i = 0; i + 1 < sizes.size(); ++i) n += sizes[i] * sizes[i + 1] + sizes[i + 1];
  return n;
}

MlpState train(const MlpProblem& problem, const MlpState& start, const ConstRowMatrixView& X,
               const ConstRowMatrixView& Y, const PhiloxKey& key, Index n_steps, int n_threads,
               Control& control) {
  const std::vector<Index>& sizes = problem.sizes;
  require(sizes.size() >= 2, "sizes must name at least inputs and outputs");
  for (const Index size : sizes) require(size >= 1, "every layer needs a unit");
  const Index n = X.rows(), n_par = n_parameters(sizes);
  require(n >= 1 && X.cols() == sizes.front(), "X must have a row, and a column for every input");
  require(Y.rows() == n && Y.cols() == sizes.back(), "Y must match X and the outputs");
  require(start.parameters.size() == n_par && start.velocity.size() == n_par,
          "parameters and velocity must have one entry per parameter");
  require(start.step >= 0 && n_steps >= 0 && problem.batch_size >= 1,
          "steps must not be negative, and batch_size must be at least 1");
  const std::vector<Layer> layers = layers_of(sizes);
  const Index batch = std::min(problem.batch_size, n);
  const Index per_epoch = (n + batch - 1) / batch;
  const Index n_shards = (batch + shard_rows - 1) / shard_rows;

  std::vector<Shard> shards(static_cast<std::size_t>(n_shards));
  for (Shard& s : shards) {
    const Index rows = std::min(batch, shard_rows);
    for (std::size_t l = 0; l < sizes.size(); ++l) {
      s.a.emplace_back(rows, sizes[l]);
      if (l > 0) s.delta.emplace_back(rows, sizes[l]);
    }
    s.target.resize(rows, sizes.back());
    s.gradient.resize(n_par);
  }

  MlpState state{start.parameters, start.velocity, start.step, Vector::Zero(n_steps)};
  std::vector<Index> order(static_cast<std::size_t>(n));
  std::vector<std::uint64_t> words(static_cast<std::size_t>(n));
  control.set_total(n_steps);
  const int team = threads_for(n_shards * shard_rows * n_par, 16'000'000, n_threads);
  Index epoch = -1;
  for (Index i = 0; i < n_steps; ++i) {
    const Index step = state.step;
    control.check();
    if (step / per_epoch != epoch) {
      epoch = step / per_epoch;
      shuffle(key, epoch, order, words);
    }
    const Index first = step % per_epoch * batch;
    const Index size = std::min(batch, n - first);
    const Index used = (size + shard_rows - 1) / shard_rows;
    parallel_for(used, static_cast<int>(std::min<Index>(team, used)), [&](Index k) {
      const Index at = k * shard_rows;
      run_shard(problem, layers, state.parameters, X, Y, order.data() + first + at,
                std::min(shard_rows, size - at), 1.0 / static_cast<double>(size),
                shards[static_cast<std::size_t>(k)]);
    });
    Shard& sum = shards.front();
    for (Index k = 1; k < used; ++k) {
      sum.gradient += shards[static_cast<std::size_t>(k)].gradient;
      sum.loss += shards[static_cast<std::size_t>(k)].loss;
    }
    const double loss = sum.loss / static_cast<double>(size);
    if (!std::isfinite(loss))
      throw NumericalError("the loss is not finite at step " + std::to_string(step) +
                           ": lower learning_rate or momentum");
    state.loss[i] = loss;
    for (const Layer& layer : layers) {
      move(problem, problem.weight_decay, layer.weights, layer.biases, sum.gradient, state);
      move(problem, 0.0, layer.biases, layer.biases + layer.out, sum.gradient, state);
    }
    ++state.step;
    control.advance();
  }
  return state;
}

}  // namespace retemper::phases

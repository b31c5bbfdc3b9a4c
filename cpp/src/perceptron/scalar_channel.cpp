#include "retemper/perceptron/scalar_channel.hpp"

#include <algorithm>
#include <array>
#include <cmath>

#include "retemper/core/error.hpp"
#include "retemper/core/parallel.hpp"
#include "retemper/numerics/gauss_hermite.hpp"
#include "retemper/numerics/vector_math.hpp"

namespace retemper::perceptron {

namespace {

namespace num = numerics;

constexpr double reach = 9.0;    // standard deviations of a field that count
constexpr double longest = 4.0;  // of them on one Gauss-Legendre panel of 16 nodes
constexpr Index block = 64;      // fields of one item

constexpr Index lanes16 = 16;  // nodes that are added together
using Lanes = std::array<double, lanes16>;

/// Moments of one field against the Legendre polynomials of one panel, lane by lane until closed.
struct Panel {
  std::array<double, series_terms> value, first, second;
  std::array<Lanes, series_terms> part, part_first, part_second;

  void clear() {
    for (auto* all : {&part, &part_first, &part_second})
      for (Lanes& lane : *all) lane.fill(0.0);
  }
  /// Points of mass weight[j], u[j] standard deviations s from the mean, at t[j] in [-1, 1].
  void add(const Lanes& weight, const Lanes& u, double s, const Lanes& t) {
    Lanes before{}, now, slope, curvature;
    const double rate = 1.0 / s;
#pragma omp simd
    for (std::size_t j = 0; j < lanes16; ++j) {
      now[j] = 1.0;
      slope[j] = weight[j] * u[j] * rate;
      curvature[j] = weight[j] * (u[j] * u[j] - 1.0) * rate * rate;
    }
    for (std::size_t k = 0; k < series_terms; ++k) {
      const double up = (2.0 * static_cast<double>(k) + 1.0) / (static_cast<double>(k) + 1.0);
      const double down = static_cast<double>(k) / (static_cast<double>(k) + 1.0);
#pragma omp simd
      for (std::size_t j = 0; j < lanes16; ++j) {
        part[k][j] += weight[j] * now[j];
        part_first[k][j] += slope[j] * now[j];
        part_second[k][j] += curvature[j] * now[j];
        const double next = up * t[j] * now[j] - down * before[j];
        before[j] = now[j];
        now[j] = next;
      }
    }
  }
  void close() {
    for (std::size_t k = 0; k < series_terms; ++k) {
      double a = 0.0, b = 0.0, c = 0.0;
      for (std::size_t j = 0; j < lanes16; ++j) {
        a += part[k][j];
        b += part_first[k][j];
        c += part_second[k][j];
      }
      value[k] = a;
      first[k] = b;
      second[k] = c;
    }
  }
};

/// Nodes and weights of a rule of 16.
struct LaneRule {
  Lanes node, weight;
  explicit LaneRule(const num::GaussRule& rule) {
    for (std::size_t j = 0; j < lanes16; ++j) {
      node[j] = rule.node[static_cast<Index>(j)];
      weight[j] = rule.weight[static_cast<Index>(j)];
    }
  }
};

struct Rules {
  LaneRule hermite{num::gauss_hermite_rule(lanes16)};  // exact: degree 15, and two for the slopes
  LaneRule legendre{num::gauss_legendre_rule(lanes16)};
};

const Rules& rules() {
  static const Rules made;
  return made;
}

/// Calls use(panel, moments) for every panel that a field reaches.
template <class Use>
void average_panels(const ConstVectorView& edges, double mean, double variance, Panel& moments,
                    Use&& use) {
  const LaneRule& hermite = rules().hermite;  // by name: clang takes no structured bindings in simd
  const LaneRule& legendre = rules().legendre;
  const double s = std::sqrt(variance);
  const Index n_panels = edges.size() - 1;
  const double low = std::max(mean - reach * s, edges[0]);
  const double high = std::min(mean + reach * s, edges[n_panels]);
  if (!(low < high)) return;
  const double* begin = edges.data();
  const Index last = n_panels - 1;
  Index p = std::clamp<Index>(std::upper_bound(begin, begin + n_panels, low) - begin - 1, 0, last);
  Lanes weight, u, t;
  for (; p <= last && edges[p] < high; ++p) {
    moments.clear();
    const double inverse = 2.0 / (edges[p + 1] - edges[p]);
    const double centre = 0.5 * (edges[p + 1] + edges[p]);
    const double a = std::max(low, edges[p]), b = std::min(high, edges[p + 1]);
    if (mean - reach * s >= edges[p] && mean + reach * s <= edges[p + 1]) {
      for (std::size_t j = 0; j < lanes16; ++j)
        t[j] = (mean - centre + s * hermite.node[j]) * inverse;
      moments.add(hermite.weight, hermite.node, s, t);
    } else {
      const double parts = std::ceil((b - a) / (longest * s));
      const double half = 0.5 * (b - a) / std::max(parts, 1.0);
      for (double i = 0.0; i < parts; ++i) {
        const double middle = a + (2.0 * i + 1.0) * half;
#pragma omp simd
        for (std::size_t j = 0; j < lanes16; ++j) {
          const double x = middle + half * legendre.node[j];
          u[j] = (x - mean) / s;
          t[j] = (x - centre) * inverse;
          weight[j] = half * legendre.weight[j] * (0.3989422804014327 / s) *
                      num::vm::exp(-0.5 * u[j] * u[j]);
        }
        moments.add(weight, u, s, t);
      }
    }
    moments.close();
    use(p, moments);
  }
}

}  // namespace

Evidence channel_evidence(const ConstVectorView& edges, const ConstRowMatrixView& density,
                          const ConstVectorView& mean, const ConstVectorView& variance,
                          Pairing pairing, int n_threads, Control& control) {
  const Index n = mean.size(), n_panels = edges.size() - 1;
  const bool is_paired = pairing == Pairing::rows;
  require(n_panels >= 1, "edges must have two entries or more");
  require(density.cols() == n_panels * series_terms, "density must have 16 terms for every panel");
  require(variance.size() == n, "mean and variance differ in length");
  require(!is_paired || density.rows() == n, "density must have a row for every field");
  require((variance.array() > 0.0).all(), "variance must be positive");
  const Index n_labels = is_paired ? 1 : density.rows();
  const RowMatrix by_term = is_paired ? RowMatrix() : RowMatrix(density.transpose());
  Evidence out;
  for (RowMatrix* part : {&out.value, &out.first, &out.second})
    *part = RowMatrix::Zero(n_labels, n);
  const Index n_blocks = (n + block - 1) / block;
  parallel_for(n_blocks, threads_for(n_blocks, 8, n_threads), control, [&](Index item) {
    Panel panel;
    RowMatrix sums(3, n_labels);
    for (Index i = item * block; i < std::min(n, (item + 1) * block); ++i) {
      sums.setZero();
      average_panels(edges, mean[i], variance[i], panel, [&](Index p, const Panel& moments) {
        if (is_paired) {
          const double* c = density.data() + i * density.outerStride() + p * series_terms;
          for (std::size_t k = 0; k < series_terms; ++k) {
            sums(0, 0) += c[k] * moments.value[k];
            sums(1, 0) += c[k] * moments.first[k];
            sums(2, 0) += c[k] * moments.second[k];
          }
          return;
        }
        for (std::size_t k = 0; k < series_terms; ++k) {  // labels are contiguous here
          const double* c = by_term.row(p * series_terms + static_cast<Index>(k)).data();
          const double a = moments.value[k], b = moments.first[k], d = moments.second[k];
          double *value = sums.row(0).data(), *first = sums.row(1).data();
          double* second = sums.row(2).data();
#pragma omp simd
          for (Index r = 0; r < n_labels; ++r) {
            value[r] += a * c[r];
            first[r] += b * c[r];
            second[r] += d * c[r];
          }
        }
      });
      out.value.col(i) = sums.row(0);
      out.first.col(i) = sums.row(1);
      out.second.col(i) = sums.row(2);
    }
  });
  return out;
}

}  // namespace retemper::perceptron

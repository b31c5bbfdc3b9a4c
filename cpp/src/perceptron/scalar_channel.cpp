#include "retemper/perceptron/scalar_channel.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <optional>

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

constexpr Index lanes16 = series_terms;  // nodes that are added together
using Lanes = NodeLanes;
constexpr Index few = 4;  // labels whose sums are kept lane by lane

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

/// Points of mass weight[j] on [middle - half, middle + half], u[j] standard deviations from the
/// mean.
void normal_nodes(double middle, double half, double mean, double rate, Lanes& weight, Lanes& u) {
  const LaneRule& legendre = rules().legendre;  // by name: clang takes no bindings in simd
  const double scale = half * 0.3989422804014327 * rate;
#pragma omp simd
  for (std::size_t j = 0; j < lanes16; ++j) {
    u[j] = (middle + half * legendre.node[j] - mean) * rate;
    weight[j] = scale * legendre.weight[j] * num::vm::exp(-0.5 * u[j] * u[j]);
  }
}

/// Calls use(panel, moments) for every panel that a field reaches, or with `by_nodes`
/// use_nodes(panel, weight, u) for those that are short beside its spread: a node has that mass
/// and is u standard deviations from the mean.
template <bool by_nodes, class UseNodes, class Use>
void average_panels(const ConstVectorView& all_edges, double mean, double variance,
                    UseNodes&& use_nodes, Use&& use) {
  const double* edges = all_edges.data();
  const Index n_panels = all_edges.size() - 1;
  const LaneRule& hermite = rules().hermite;
  const LaneRule& legendre = rules().legendre;
  const double s = std::sqrt(variance), rate = 1.0 / s;
  const double low = std::max(mean - reach * s, edges[0]);
  const double high = std::min(mean + reach * s, edges[n_panels]);
  if (!(low < high)) return;
  const Index last = n_panels - 1;
  Index p = std::clamp<Index>(std::upper_bound(edges, edges + n_panels, low) - edges - 1, 0, last);
  Panel moments;
  Lanes weight, u, t;
  for (; p <= last && edges[p] < high; ++p) {
    const double length = edges[p + 1] - edges[p];
    const double inverse = 2.0 / length;
    const double centre = 0.5 * (edges[p + 1] + edges[p]);
    if constexpr (by_nodes)
      if (length <= longest * s) {
        normal_nodes(centre, 0.5 * length, mean, rate, weight, u);
        use_nodes(p, weight, u);
        continue;
      }
    moments.clear();
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
        normal_nodes(middle, half, mean, rate, weight, u);
        for (std::size_t j = 0; j < lanes16; ++j)
          t[j] = (middle + half * legendre.node[j] - centre) * inverse;
        moments.add(weight, u, s, t);
      }
    }
    moments.close();
    use(p, moments);
  }
}

void check_panels(const ConstVectorView& edges, Index n_columns) {
  require(edges.size() >= 2, "edges must have two entries or more");
  require(n_columns == (edges.size() - 1) * series_terms,
          "density must have 16 terms for every panel");
}

}  // namespace

const PanelLanes& panel_lanes() {
  static const PanelLanes made = [] {
    PanelLanes out;
    const LaneRule& rule = rules().legendre;
    out.node = rule.node;
    out.weight = rule.weight;
    for (std::size_t j = 0; j < lanes16; ++j) {
      double before = 0.0, now = 1.0;
      for (std::size_t k = 0; k < lanes16; ++k) {
        const double n = static_cast<double>(k);
        if (k + 4 >= lanes16) out.last[k + 4 - lanes16][j] = now * rule.weight[j] * (n + 0.5);
        const double next = ((2.0 * n + 1.0) * rule.node[j] * now - n * before) / (n + 1.0);
        before = now;
        now = next;
      }
    }
    return out;
  }();
  return made;
}

PanelDensity::PanelDensity(const ConstVectorView& edges, const ConstRowMatrixView& density)
    : edges_(edges), by_term_(density.transpose()) {
  check_panels(edges, density.cols());
  RowMatrix legendre(series_terms, series_terms);  // (node, term)
  for (Index j = 0; j < series_terms; ++j) {
    const double x = rules().legendre.node[static_cast<std::size_t>(j)];
    legendre(j, 0) = 1.0;
    legendre(j, 1) = x;
    for (Index k = 1; k + 1 < series_terms; ++k) {
      const double n = static_cast<double>(k);
      legendre(j, k + 1) =
          ((2.0 * n + 1.0) * x * legendre(j, k) - n * legendre(j, k - 1)) / (n + 1.0);
    }
  }
  at_node_.resize(by_term_.rows(), by_term_.cols());
  for (Index p = 0; p + 1 < edges.size(); ++p)
    at_node_.middleRows(p * series_terms, series_terms).noalias() =
        legendre * by_term_.middleRows(p * series_terms, series_terms);
  if (n_labels() <= few) at_node_ = RowMatrix(at_node_.transpose());
}

void PanelDensity::average(double mean, double variance, double* value, double* first,
                           double* second) const {
  const Index n = n_labels();
  const double rate = 1.0 / std::sqrt(variance);
  std::array<std::array<Lanes, 3>, few> open;
  if (n <= few)
    for (Index r = 0; r < n; ++r)
      for (Lanes& lane : open[static_cast<std::size_t>(r)]) lane.fill(0.0);
  std::fill_n(value, n, 0.0);
  std::fill_n(first, n, 0.0);
  std::fill_n(second, n, 0.0);
  const auto add = [&](const double* c, double a, double b, double d) {
#pragma omp simd
    for (Index r = 0; r < n; ++r) {  // labels are contiguous here
      value[r] += a * c[r];
      first[r] += b * c[r];
      second[r] += d * c[r];
    }
  };
  average_panels<true>(
      edges_, mean, variance,
      [&](Index p, const Lanes& weight, const Lanes& u) {
        Lanes slope, curvature;
#pragma omp simd
        for (std::size_t j = 0; j < lanes16; ++j) {
          slope[j] = weight[j] * u[j] * rate;
          curvature[j] = weight[j] * (u[j] * u[j] - 1.0) * rate * rate;
        }
        if (n > few) {
          for (std::size_t j = 0; j < lanes16; ++j)
            add(at_node_.row(p * series_terms + static_cast<Index>(j)).data(), weight[j], slope[j],
                curvature[j]);
          return;
        }
        for (Index r = 0; r < n; ++r) {
          const double* c = at_node_.row(r).data() + p * series_terms;
          std::array<Lanes, 3>& sum = open[static_cast<std::size_t>(r)];
#pragma omp simd
          for (std::size_t j = 0; j < lanes16; ++j) {
            sum[0][j] += weight[j] * c[j];
            sum[1][j] += slope[j] * c[j];
            sum[2][j] += curvature[j] * c[j];
          }
        }
      },
      [&](Index p, const Panel& moments) {
        for (std::size_t k = 0; k < series_terms; ++k)
          add(by_term_.row(p * series_terms + static_cast<Index>(k)).data(), moments.value[k],
              moments.first[k], moments.second[k]);
      });
  if (n > few) return;
  for (Index r = 0; r < n; ++r) {
    const std::array<Lanes, 3>& sum = open[static_cast<std::size_t>(r)];
    for (std::size_t j = 0; j < lanes16; ++j) {
      value[r] += sum[0][j];
      first[r] += sum[1][j];
      second[r] += sum[2][j];
    }
  }
}

Evidence channel_evidence(const ConstVectorView& edges, const ConstRowMatrixView& density,
                          const ConstVectorView& mean, const ConstVectorView& variance,
                          Pairing pairing, int n_threads, Control& control) {
  const Index n = mean.size();
  const bool is_paired = pairing == Pairing::rows;
  check_panels(edges, density.cols());
  require(variance.size() == n, "mean and variance differ in length");
  require(!is_paired || density.rows() == n, "density must have a row for every field");
  require((variance.array() > 0.0).all(), "variance must be positive");
  std::optional<PanelDensity> all;
  if (!is_paired) all.emplace(edges, density);
  const Index n_labels = is_paired ? 1 : density.rows();
  Evidence out;
  for (RowMatrix* part : {&out.value, &out.first, &out.second})
    *part = RowMatrix::Zero(n_labels, n);
  const Index n_blocks = (n + block - 1) / block;
  parallel_for(n_blocks, threads_for(n_blocks, 8, n_threads), control, [&](Index item) {
    RowMatrix sums(3, n_labels);
    for (Index i = item * block; i < std::min(n, (item + 1) * block); ++i) {
      if (is_paired) {
        sums.setZero();
        average_panels<false>(
            edges, mean[i], variance[i], [](Index, const Lanes&, const Lanes&) {},
            [&](Index p, const Panel& moments) {
              const double* c = density.data() + i * density.outerStride() + p * series_terms;
              for (std::size_t k = 0; k < series_terms; ++k) {
                sums(0, 0) += c[k] * moments.value[k];
                sums(1, 0) += c[k] * moments.first[k];
                sums(2, 0) += c[k] * moments.second[k];
              }
            });
      } else {
        all->average(mean[i], variance[i], sums.row(0).data(), sums.row(1).data(),
                     sums.row(2).data());
      }
      out.value.col(i) = sums.row(0);
      out.first.col(i) = sums.row(1);
      out.second.col(i) = sums.row(2);
    }
  });
  return out;
}

}  // namespace retemper::perceptron

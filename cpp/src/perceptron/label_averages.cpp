#include "retemper/perceptron/label_averages.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "retemper/core/error.hpp"
#include "retemper/numerics/vector_math.hpp"

namespace retemper::perceptron {

namespace {

namespace vm = numerics::vm;

constexpr std::size_t n_nodes = static_cast<std::size_t>(series_terms);
constexpr double inverse_root_2pi = 0.39894228040143267794;
constexpr double farthest = 8.5;  // standard deviations of the student's field that count
constexpr double no_wall = std::numeric_limits<double>::infinity();
/// Edges of panels around a turn, in widths of it.
constexpr std::array<double, 7> turn_edges{-9.0, -4.5, -2.0, 0.0, 2.0, 4.5, 9.0};
/// A round turn of that many standard deviations needs no panels of its own.
constexpr double widest_turn = 0.75;
constexpr Index most_halvings = 40;  // of a panel
constexpr Index most_field_panels = 4000;

/// A step of Halley's method for x = c + V / (1 + exp(x)).
RETEMPER_VM double nearer(double x, double c, double V) {
  const double e = vm::exp(-x);
  const double share = 1.0 / (1.0 + e);
  const double p = e * share, bend = V * p * share;
  const double f = x - c - V * p, slope = 1.0 + bend;
  x -= 2.0 * f * slope / (2.0 * slope * slope + f * bend * (1.0 - 2.0 * p));
  return x > 0.0 ? x : 0.0;
}

/// Everything about p in logit(p) + u + V p = 0 follows from x = -logit(p), x = u + V p, for which
/// x > 0 after a mirror. There x - u - V p(x) is concave: Lambert's function, once corrected for
/// 1 + exp(-x), starts steps of third order.
RETEMPER_VM double logistic_root(double u, double V, double log_V) {
  const bool is_low = u > -0.5 * V;
  const double c = is_low ? u : -u - V;
  // W(V exp(-c)) of V p exp(V p) = V exp(-c) (1 - p): from above
  const double log_z = log_V - c;
  const double bounded = log_z < 30.0 ? log_z : 30.0;
  const double l = log_z > 30.0 ? log_z : vm::log(1.0 + vm::exp(bounded));
  const double w = l * (1.0 - vm::log(1.0 + l) / (2.0 + l));
  double x = c + w;
  x = x > 0.0 ? x : 0.0;
  x = nearer(nearer(nearer(x, c, V), c, V), c, V);
  const double e = vm::exp(-x);
  const double share = 1.0 / (1.0 + e);
  return is_low ? e * share : share;
}

/// Minus the slope of a loss at its proximal point and the derivative of that in the mean, of 16
/// fields of one label.
struct LossScore {
  Loss loss;
  double variance, log_variance;

  LossScore(Loss kind, double V) : loss(kind), variance(V), log_variance(std::log(V)) {}

  void operator()(double y, const NodeLanes& mean, NodeLanes& g, NodeLanes& dg) const {
    const double V = variance, log_V = log_variance;  // no address that g could have
    const double inside = 1.0 / (1.0 + V);
    switch (loss) {
      case Loss::logistic:
#pragma omp simd
        for (std::size_t j = 0; j < n_nodes; ++j) {
          const double p = logistic_root(y * mean[j], V, log_V);
          const double bend = p * (1.0 - p);
          g[j] = y * p;
          dg[j] = -bend / (1.0 + V * bend);
        }
        return;
      case Loss::hinge:
#pragma omp simd
        for (std::size_t j = 0; j < n_nodes; ++j) {
          const double u = y * mean[j];
          const double left = (1.0 - u) / V;
          const double p = left < 1.0 ? left : 1.0;
          g[j] = u < 1.0 ? y * p : 0.0;
          dg[j] = (u < 1.0 && left < 1.0) ? -1.0 / V : 0.0;
        }
        return;
      case Loss::square:
#pragma omp simd
        for (std::size_t j = 0; j < n_nodes; ++j) {
          g[j] = (y - mean[j]) * inside;
          dg[j] = -inside;
        }
        return;
      case Loss::huber:
#pragma omp simd
        for (std::size_t j = 0; j < n_nodes; ++j) {
          const double r = (y - mean[j]) * inside;
          const double cut = r < -1.0 ? -1.0 : r;
          g[j] = cut > 1.0 ? 1.0 : cut;
          dg[j] = std::fabs(r) < 1.0 ? -inside : 0.0;
        }
        return;
    }
  }

  /// Fields at which it bends for a label.
  void turns(double y, std::vector<double>& out) const {
    if (loss == Loss::hinge) out.insert(out.end(), {y, y * (1.0 - variance)});
    if (loss == Loss::huber) out.insert(out.end(), {y - 1.0 - variance, y + 1.0 + variance});
    if (loss == Loss::logistic) out.insert(out.end(), {0.0, -y * variance});
  }
};

/// Of 16 fields: P(label), its derivative, that of its logarithm and the second of that.
struct Scores {
  NodeLanes value, first, g, dg;
};

/// Tails are in units of the density at the nearest wall, exp(-nearest), so that ratios stay right
/// where every probability underflows.
void score_slabs(const FieldLaw& law, const NodeLanes& mean, double variance,
                 std::vector<Scores>& out) {
  const std::vector<double>& walls = law.walls();
  const std::size_t n_walls = walls.size();
  const double rate = 1.0 / std::sqrt(variance + law.noise());
  std::vector<std::array<NodeLanes, 3>> at(n_walls);  // u, density (first u² / 2), tail
  NodeLanes nearest, unit;
  nearest.fill(no_wall);
  for (std::size_t k = 0; k < n_walls; ++k) {
    NodeLanes &u = at[k][0], &half = at[k][1];
#pragma omp simd
    for (std::size_t j = 0; j < n_nodes; ++j) {
      u[j] = (walls[k] - mean[j]) * rate;
      half[j] = 0.5 * u[j] * u[j];  // stored: squares rounded in two ways differ by thousands
      nearest[j] = half[j] < nearest[j] ? half[j] : nearest[j];
    }
  }
#pragma omp simd
  for (std::size_t j = 0; j < n_nodes; ++j) unit[j] = vm::exp(-nearest[j]);
  for (std::size_t k = 0; k < n_walls; ++k) {
    NodeLanes &u = at[k][0], &density = at[k][1], &tail = at[k][2];
#pragma omp simd
    for (std::size_t j = 0; j < n_nodes; ++j) {
      const double size = std::fabs(u[j]);
      density[j] = inverse_root_2pi * vm::exp(nearest[j] - density[j]);
      tail[j] = density[j] / (size + vm::hazard_excess(size));
    }
  }
  std::array<NodeLanes, 3> none;
  none[1].fill(0.0);
  none[2].fill(0.0);
  std::array<NodeLanes, 3> from = none, to = none;
  from[0].fill(-no_wall);
  to[0].fill(no_wall);
  struct Sum {
    NodeLanes body{}, tail{}, first{}, second{};
  };
  std::vector<Sum> sums(static_cast<std::size_t>(law.n_labels()));
  for (const FieldLaw::Cut& cut : law.cuts()) {
    const auto& low = cut.low < 0 ? from : at[static_cast<std::size_t>(cut.low)];
    const auto& high = cut.high < 0 ? to : at[static_cast<std::size_t>(cut.high)];
    const NodeLanes &a = low[0], &at_a = low[1], &tail_a = low[2];
    const NodeLanes &b = high[0], &at_b = high[1], &tail_b = high[2];
    Sum& sum = sums[static_cast<std::size_t>(cut.label)];
    const double weight = cut.weight;
    const bool is_open_below = cut.low < 0, is_open_above = cut.high < 0;
#pragma omp simd
    for (std::size_t j = 0; j < n_nodes; ++j) {
      const bool is_inside = a[j] <= 0.0 && b[j] >= 0.0;
      const double whole = 1.0 - unit[j] * (tail_a[j] + tail_b[j]);
      const double part = a[j] > 0.0 ? tail_a[j] - tail_b[j] : tail_b[j] - tail_a[j];
      sum.body[j] += is_inside ? weight * whole : 0.0;
      sum.tail[j] += is_inside ? 0.0 : weight * part;
      sum.first[j] += weight * rate * (at_a[j] - at_b[j]);
      const double pull_a = is_open_below ? 0.0 : a[j] * at_a[j];
      const double pull_b = is_open_above ? 0.0 : b[j] * at_b[j];
      sum.second[j] += weight * rate * rate * (pull_a - pull_b);
    }
  }
  for (std::size_t r = 0; r < sums.size(); ++r) {
    const Sum& sum = sums[r];
    Scores& row = out[r];
#pragma omp simd
    for (std::size_t j = 0; j < n_nodes; ++j) {
      const double value = sum.body[j] + unit[j] * sum.tail[j];
      const bool is_body = sum.body[j] > 0.0;
      const double scale = is_body ? unit[j] : 1.0;
      const double under = is_body ? value : sum.tail[j];
      const double inverse = under > 0.0 ? scale / under : 0.0;
      const double g = sum.first[j] * inverse;
      row.value[j] = value;
      row.first[j] = unit[j] * sum.first[j];
      row.g[j] = g;
      row.dg[j] = sum.second[j] * inverse - g * g;
    }
  }
}

/// The scores of field j from the evidence of every label and its two derivatives.
void set_scores(const std::vector<double>& sums, std::size_t j, std::vector<Scores>& out) {
  const std::size_t n = out.size();
  for (std::size_t r = 0; r < n; ++r) {
    const double value = std::max(sums[r], 1e-300);
    const double g = sums[n + r] / value;
    out[r].value[j] = value;
    out[r].first[j] = sums[n + r];
    out[r].g[j] = g;
    out[r].dg[j] = sums[2 * n + r] / value - g * g;
  }
}

void score_panels(const FieldLaw& law, const NodeLanes& mean, double variance,
                  std::vector<Scores>& out) {
  const std::size_t n = out.size();
  std::vector<double> sums(3 * n);
  for (std::size_t j = 0; j < n_nodes; ++j) {
    law.panels()->average(mean[j], variance, sums.data(), sums.data() + n, sums.data() + 2 * n);
    set_scores(sums, j, out);
  }
}

/// A law of fields of one variance, whose means lie in a range. Averages over panels cost more than
/// a series: they become series in the mean, on pieces that are halved until they are resolved.
class LawAt {
 public:
  /// Ratios of what it gives are right in its tails where they are asked for.
  LawAt(const FieldLaw& law, double variance, double reach, bool has_ratios)
      : law_(law), variance_(variance) {
    if (law.panels()) tabulate(std::max(reach, 1e-100), has_ratios);
  }

  void score(const NodeLanes& mean, std::vector<Scores>& out) const {
    if (!law_.panels()) {
      score_slabs(law_, mean, variance_, out);
      return;
    }
    const std::size_t n = static_cast<std::size_t>(law_.n_labels());
    std::vector<double> sums(3 * n);
    for (std::size_t j = 0; j < n_nodes; ++j) {
      if (series_.empty())
        evaluate(mean[j], sums.data());
      else
        read(mean[j], sums);
      set_scores(sums, j, out);
    }
  }

 private:
  static constexpr Index most_pieces = 40;
  static constexpr double resolved = 1e-12;  // the last two terms, beside the largest value

  struct Piece {
    double low, high;
    RowMatrix series;  // (16, 3 n_labels)
  };

  void evaluate(double mean, double* sums) const {
    const Index n = law_.n_labels();
    law_.panels()->average(mean, variance_, sums, sums + n, sums + 2 * n);
  }

  void read(double mean, std::vector<double>& sums) const {
    std::size_t i = 0;
    while (i + 1 < series_.size() && mean > series_[i].high) ++i;
    const Piece& piece = series_[i];
    const double t = (2.0 * mean - piece.low - piece.high) / (piece.high - piece.low);
    double before = 0.0, now = 1.0;
    std::fill(sums.begin(), sums.end(), 0.0);
    for (Index k = 0; k < series_terms; ++k) {
      const double* c = piece.series.row(k).data();
      for (std::size_t r = 0; r < sums.size(); ++r) sums[r] += now * c[r];
      const double n = static_cast<double>(k);
      const double next = ((2.0 * n + 1.0) * t * now - n * before) / (n + 1.0);
      before = now;
      now = next;
    }
  }

  void tabulate(double reach, bool has_ratios) {
    const PanelLanes& rule = panel_lanes();
    const Index n_columns = 3 * law_.n_labels();
    RowMatrix values(series_terms, n_columns);
    std::vector<std::array<double, 2>> waiting;
    for (int i = 8; i-- > 0;)  // the leftmost last, which is taken first
      waiting.push_back({reach * (0.25 * i - 1.0), reach * (0.25 * i - 0.75)});
    Index n_pieces = 0;
    Eigen::RowVectorXd largest = Eigen::RowVectorXd::Zero(n_columns), rounding(n_columns);
    const double rate = 1.0 / std::sqrt(variance_);
    for (Index r = 0; r < law_.n_labels(); ++r)
      for (Index k = 0; k < 3; ++k)
        rounding[k * law_.n_labels() + r] = 1e-14 * (k == 0 ? 1.0 : k == 1 ? rate : rate * rate);
    while (!waiting.empty()) {
      const auto [low, high] = waiting.back();
      waiting.pop_back();
      if (++n_pieces > most_pieces) {
        series_.clear();
        return;
      }
      for (Index j = 0; j < series_terms; ++j)
        evaluate(0.5 * (low + high) + 0.5 * (high - low) * rule.node[static_cast<std::size_t>(j)],
                 values.row(j).data());
      Piece piece{low, high, RowMatrix(to_series() * values)};
      const Index n_used = has_ratios ? n_columns : 2 * law_.n_labels();
      Eigen::RowVectorXd size = values.cwiseAbs().colwise().maxCoeff();
      largest = largest.cwiseMax(size);
      if (!has_ratios) size = largest;
      const Eigen::RowVectorXd last = piece.series.bottomRows(2).cwiseAbs().colwise().maxCoeff();
      const bool is_resolved = (last.head(n_used).array() <= resolved * size.head(n_used).array() +
                                                                 rounding.head(n_used).array())
                                   .all();
      if (is_resolved) {
        series_.push_back(std::move(piece));
      } else {
        waiting.push_back({0.5 * (low + high), high});
        waiting.push_back({low, 0.5 * (low + high)});
      }
    }
  }

  /// Values at the nodes to the terms of a series.
  static const RowMatrix& to_series() {
    static const RowMatrix made = [] {
      RowMatrix out(series_terms, series_terms);
      const PanelLanes& rule = panel_lanes();
      for (Index j = 0; j < series_terms; ++j) {
        const double x = rule.node[static_cast<std::size_t>(j)];
        double before = 0.0, now = 1.0;
        for (Index k = 0; k < series_terms; ++k) {
          const double n = static_cast<double>(k);
          out(k, j) = now * rule.weight[static_cast<std::size_t>(j)] * (n + 0.5);
          const double next = ((2.0 * n + 1.0) * x * now - n * before) / (n + 1.0);
          before = now;
          now = next;
        }
      }
      return out;
    }();
    return made;
  }

  const FieldLaw& law_;
  double variance_;
  std::vector<Piece> series_;
};

/// Five averages of one panel, times the normal density at its nodes.
struct FieldPanel {
  double low, high;
  Index depth;
  std::array<double, 5> value, error;
};

/// What a kind of student adds to panels.
class Rows {
 public:
  Rows(const FieldLaw& teacher, const StudentState& at)
      : teacher_(teacher),
        root_(std::max(std::sqrt(at.q), 1e-150)),
        along_(at.m / root_),
        unknown_(std::max(at.rho - along_ * along_, 1e-12 * at.rho)),
        teacher_at_(teacher, unknown_, farthest * std::fabs(along_), false) {
    truth_.resize(static_cast<std::size_t>(teacher.n_labels()));
  }
  virtual ~Rows() = default;
  Rows(const Rows&) = delete;
  Rows& operator=(const Rows&) = delete;

  /// Score of every label at these fields, and the loss of what is predicted.
  virtual void student(const NodeLanes& mean) = 0;
  /// Edges in fields where a score turns, and round turns: place and width.
  virtual void turns(std::vector<double>& sharp, std::vector<std::array<double, 2>>& round) = 0;

  LabelAverages average(const AverageLimits& limits) {
    std::vector<FieldPanel> waiting = panels();
    std::array<double, 5> total{}, error{}, size{};  // size: of the values, signs aside
    Index n_panels = 0;
    while (!waiting.empty()) {
      for (FieldPanel& panel : waiting) measure(panel);
      n_panels += static_cast<Index>(waiting.size());
      std::array<double, 5> scale = size;
      for (const FieldPanel& panel : waiting)
        for (std::size_t k = 0; k < 5; ++k) scale[k] += std::fabs(panel.value[k]);
      std::vector<FieldPanel> next;
      for (const FieldPanel& panel : waiting) {
        bool is_resolved = !(panel.error[4] > limits.error_tol);
        for (std::size_t k = 0; k < 3; ++k)
          is_resolved = is_resolved && !(panel.error[k] > limits.tol * scale[k]);
        if (is_resolved || panel.depth >= most_halvings || n_panels > most_field_panels) {
          for (std::size_t k = 0; k < 5; ++k) {
            total[k] += panel.value[k];
            size[k] += std::fabs(panel.value[k]);
            error[k] += panel.error[k];
          }
          continue;
        }
        const double middle = 0.5 * (panel.low + panel.high);
        next.push_back({panel.low, middle, panel.depth + 1, {}, {}});
        next.push_back({middle, panel.high, panel.depth + 1, {}, {}});
      }
      waiting = std::move(next);
    }
    double relative = 0.0;
    for (std::size_t k = 0; k < 3; ++k)
      relative = std::max(relative, error[k] / std::max(size[k], 1e-300));
    return {total[0], total[1], total[2], total[3], total[4], relative};
  }

 protected:
  double root() const { return root_; }
  Index n_labels() const { return teacher_.n_labels(); }
  const std::vector<Scores>& truth() const { return truth_; }

  std::vector<Scores> own_;  // of the student: g and dg of every label
  NodeLanes loss_{};         // of what it predicts

 private:
  std::vector<FieldPanel> panels() {
    std::vector<double> sharp{0.0}, edges;
    std::vector<std::array<double, 2>> round;
    turns(sharp, round);
    const double slope = along_ / root_;  // of the truth's field in the student's
    if (std::fabs(slope) > 1e-150)
      for (const double wall : teacher_.walls())
        round.push_back({wall / slope, std::sqrt(unknown_ + teacher_.noise()) / std::fabs(slope)});
    for (int i = 0; i < 8; ++i) edges.push_back(farthest * (2.0 * i / 7.0 - 1.0));
    for (const double place : sharp) edges.push_back(place / root_);
    for (const auto& [place, spread] : round)
      if (spread < widest_turn * root_)
        for (const double r : turn_edges) edges.push_back((place + spread * r) / root_);
    for (double& edge : edges) edge = std::clamp(edge, -farthest, farthest);
    std::sort(edges.begin(), edges.end());
    std::vector<FieldPanel> out;
    for (std::size_t i = 0; i + 1 < edges.size(); ++i)
      if (edges[i + 1] - edges[i] > 1e-14 * farthest)
        out.push_back({edges[i], edges[i + 1], 0, {}, {}});
    return out;
  }

  void measure(FieldPanel& panel) {
    const PanelLanes& rule = panel_lanes();
    const double half = 0.5 * (panel.high - panel.low), middle = 0.5 * (panel.high + panel.low);
    NodeLanes field, mean, density;
#pragma omp simd
    for (std::size_t j = 0; j < n_nodes; ++j) {
      const double z = middle + half * rule.node[j];
      field[j] = root_ * z;
      mean[j] = along_ * z;
      density[j] = inverse_root_2pi * vm::exp(-0.5 * z * z);
    }
    teacher_at_.score(mean, truth_);
    student(field);
    std::array<NodeLanes, 5> f{};
    for (std::size_t r = 0; r < truth_.size(); ++r) {
      const Scores &true_row = truth_[r], &own = own_[r];
#pragma omp simd
      for (std::size_t j = 0; j < n_nodes; ++j) {
        const double share = true_row.value[j] * density[j];
        f[0][j] -= share * own.dg[j];
        f[1][j] += share * own.g[j] * own.g[j];
        f[2][j] += true_row.first[j] * density[j] * own.g[j];
        f[3][j] += share * own.dg[j] * own.dg[j];
      }
    }
#pragma omp simd
    for (std::size_t j = 0; j < n_nodes; ++j) f[4][j] = loss_[j] * density[j];
    for (std::size_t k = 0; k < 5; ++k) {
      double sum = 0.0, most = 0.0;
      for (std::size_t j = 0; j < n_nodes; ++j) sum += rule.weight[j] * f[k][j];
      for (const NodeLanes& term : rule.last) {
        double size = 0.0;
        for (std::size_t j = 0; j < n_nodes; ++j) size += term[j] * f[k][j];
        most = std::max(most, std::fabs(size));
      }
      panel.value[k] = half * sum;
      panel.error[k] = half * most;
    }
  }

  const FieldLaw& teacher_;
  double root_, along_, unknown_;
  LawAt teacher_at_;
  std::vector<Scores> truth_;
};

/// A student that minimises a loss.
class LossRows final : public Rows {
 public:
  LossRows(const FieldLaw& teacher, const ConstVectorView& labels, Loss loss,
           const StudentState& at)
      : Rows(teacher, at), labels_(labels), score_(loss, at.V) {
    own_.resize(static_cast<std::size_t>(labels.size()));
    is_sign_ = labels.size() == 2 && labels[0] == -1.0 && labels[1] == 1.0;
  }

  void student(const NodeLanes& mean) override {
    loss_.fill(0.0);
    for (Index r = 0; r < labels_.size(); ++r) {
      const double y = labels_[r];
      Scores& own = own_[static_cast<std::size_t>(r)];
      score_(y, mean, own.g, own.dg);
      const NodeLanes& share = truth()[static_cast<std::size_t>(r)].value;
      const bool is_sign = is_sign_;
#pragma omp simd
      for (std::size_t j = 0; j < n_nodes; ++j) {
        const double gap = y - mean[j];
        const double wrong = (mean[j] >= 0.0) == (y > 0.0) ? 0.0 : 1.0;
        loss_[j] += share[j] * (is_sign ? wrong : gap * gap);
      }
    }
  }

  void turns(std::vector<double>& sharp, std::vector<std::array<double, 2>>&) override {
    for (const double y : labels_) score_.turns(y, sharp);
  }

 private:
  Vector labels_;
  LossScore score_;
  bool is_sign_ = false;
};

/// A student that takes posterior means.
class PosteriorRows final : public Rows {
 public:
  PosteriorRows(const FieldLaw& teacher, const FieldLaw& student_law, const StudentState& at)
      : Rows(teacher, at),
        law_(student_law),
        V_(at.V),
        law_at_(student_law, at.V, farthest * root(), true) {
    own_.resize(static_cast<std::size_t>(student_law.n_labels()));
  }

  void student(const NodeLanes& mean) override {
    law_at_.score(mean, own_);
    for (std::size_t j = 0; j < n_nodes; ++j) {
      std::size_t best = 0;
      for (std::size_t r = 1; r < own_.size(); ++r)
        if (own_[r].value[j] > own_[best].value[j]) best = r;
      double wrong = 0.0;
      for (std::size_t r = 0; r < own_.size(); ++r)
        if (r != best) wrong += truth()[r].value[j];
      loss_[j] = wrong;
    }
  }

  void turns(std::vector<double>&, std::vector<std::array<double, 2>>& round) override {
    for (const double wall : law_.walls()) round.push_back({wall, std::sqrt(V_ + law_.noise())});
  }

 private:
  const FieldLaw& law_;
  double V_;
  LawAt law_at_;
};

void check_state(const FieldLaw& teacher, Index n_labels, const StudentState& at) {
  require(teacher.n_labels() == n_labels, "teacher and student have different labels");
  require(at.V > 0.0 && at.q >= 0.0 && at.rho > 0.0, "V and rho must be positive, q at least 0");
  require(std::isfinite(at.V + at.q + at.m + at.rho), "V, q, m and rho must be finite");
}

}  // namespace

Vector logistic_pull(const ConstVectorView& u, double V) {
  require(V > 0.0, "V must be positive");
  const double log_V = std::log(V);
  Vector out(u.size());
#pragma omp simd
  for (Index i = 0; i < u.size(); ++i) out[i] = logistic_root(u[i], V, log_V);
  return out;
}

FieldLaw::FieldLaw(Index n_labels, std::vector<Slab> slabs, double sigma)
    : n_labels_(n_labels), sigma_(sigma) {
  require(n_labels > 0 && sigma >= 0.0, "n_labels must be positive, sigma at least 0");
  for (const Slab& slab : slabs)
    for (const double end : {slab.low, slab.high})
      if (std::isfinite(end)) walls_.push_back(end);
  std::sort(walls_.begin(), walls_.end());
  walls_.erase(std::unique(walls_.begin(), walls_.end()), walls_.end());
  const auto place = [&](double end) {
    return std::isfinite(end)
               ? static_cast<Index>(std::lower_bound(walls_.begin(), walls_.end(), end) -
                                    walls_.begin())
               : Index{-1};
  };
  for (const Slab& slab : slabs) {
    require(slab.label >= 0 && slab.label < n_labels && slab.low < slab.high,
            "a slab needs a label and low < high");
    if (slab.weight > 0.0)
      cuts_.push_back({slab.label, slab.weight, place(slab.low), place(slab.high)});
  }
}

FieldLaw::FieldLaw(const ConstVectorView& edges, const ConstRowMatrixView& density,
                   const ConstVectorView& walls)
    : n_labels_(density.rows()),
      walls_(walls.begin(), walls.end()),
      panels_(std::in_place, edges, density) {}

FieldScores field_scores(const FieldLaw& law, const ConstVectorView& mean,
                         const ConstVectorView& variance) {
  const Index n = variance.size(), n_labels = law.n_labels();
  require(mean.size() == n * series_terms, "mean must have 16 entries for every variance");
  require((variance.array() > 0.0).all(), "variance must be positive");
  FieldScores out;
  for (RowMatrix* part : {&out.value, &out.g, &out.dg}) part->resize(n_labels, mean.size());
  std::vector<Scores> rows(static_cast<std::size_t>(n_labels));
  NodeLanes at;
  for (Index i = 0; i < n; ++i) {
    std::copy_n(mean.data() + i * series_terms, series_terms, at.begin());
    if (law.panels())
      score_panels(law, at, variance[i], rows);
    else
      score_slabs(law, at, variance[i], rows);
    for (Index r = 0; r < n_labels; ++r) {
      const Scores& row = rows[static_cast<std::size_t>(r)];
      std::copy(row.value.begin(), row.value.end(), out.value.row(r).data() + i * series_terms);
      std::copy(row.g.begin(), row.g.end(), out.g.row(r).data() + i * series_terms);
      std::copy(row.dg.begin(), row.dg.end(), out.dg.row(r).data() + i * series_terms);
    }
  }
  return out;
}

LabelAverages label_averages(const FieldLaw& teacher, const ConstVectorView& labels, Loss loss,
                             const StudentState& at, const AverageLimits& limits) {
  check_state(teacher, labels.size(), at);
  return LossRows(teacher, labels, loss, at).average(limits);
}

LabelAverages label_averages(const FieldLaw& teacher, const FieldLaw& student,
                             const StudentState& at, const AverageLimits& limits) {
  check_state(teacher, student.n_labels(), at);
  return PosteriorRows(teacher, student, at).average(limits);
}

}  // namespace retemper::perceptron

// Any likelihood P(label | h) of one row, averaged over a Gaussian field.
//
// The likelihood is given on panels in h by its Legendre series, so that an average against a
// normal density of any width costs a few moments of that density and no further evaluation.
// Where the density is no narrower than a panel, the values of the series at the panel's own nodes
// are enough.
#pragma once

#include <array>

#include "retemper/core/control.hpp"
#include "retemper/core/types.hpp"

namespace retemper::perceptron {

/// Terms of the series on a panel: polynomials of degree 15.
constexpr Index series_terms = 16;

/// As many nodes, which are worked on together.
using NodeLanes = std::array<double, static_cast<std::size_t>(series_terms)>;

/// Nodes and weights of the Gauss-Legendre rule of a panel, on [-1, 1], and what gives the last
/// four terms of the series of a function from its values at the nodes.
struct PanelLanes {
  NodeLanes node, weight;
  std::array<NodeLanes, 4> last;
};

const PanelLanes& panel_lanes();

/// What an average is taken of: likelihoods of all labels, or of row i in the field i.
enum class Pairing { all, rows };

/// E P(label | h), h ~ N(mean[i], variance[i]), and its two derivatives in the mean.
/// Each (n_labels, n); (1, n) where rows are paired.
struct Evidence {
  RowMatrix value, first, second;
};

/// edges: (n_panels + 1,) increasing; density: (n_labels, n_panels * series_terms), Legendre
/// coefficients of the likelihood, zero outside the panels. mean and variance: (n,), variance > 0.
/// Rows of `density` are labels, or with Pairing::rows those of the fields. The result does not
/// depend on n_threads.
Evidence channel_evidence(const ConstVectorView& edges, const ConstRowMatrixView& density,
                          const ConstVectorView& mean, const ConstVectorView& variance,
                          Pairing pairing, int n_threads, Control& control);

/// Likelihoods of all labels on panels, ready to be averaged.
class PanelDensity {
 public:
  /// As for channel_evidence.
  PanelDensity(const ConstVectorView& edges, const ConstRowMatrixView& density);

  Index n_labels() const { return by_term_.cols(); }
  /// Evidence of a field N(mean, variance) and its two derivatives, each (n_labels,).
  void average(double mean, double variance, double* value, double* first, double* second) const;

 private:
  Vector edges_;
  RowMatrix by_term_;  ///< (n_panels * series_terms, n_labels)
  RowMatrix at_node_;  ///< the values at the nodes of panels: as by_term_, or transposed if few
};

}  // namespace retemper::perceptron

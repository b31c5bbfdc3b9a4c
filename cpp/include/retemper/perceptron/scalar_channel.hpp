// Any likelihood P(label | h) of one row, averaged over a Gaussian field.
//
// The likelihood is given on panels in h by its Legendre series, so that an average against a
// normal density of any width costs a few moments of that density and no further evaluation.
#pragma once

#include "retemper/core/control.hpp"
#include "retemper/core/types.hpp"

namespace retemper::perceptron {

/// Terms of the series on a panel: polynomials of degree 15.
constexpr Index series_terms = 16;

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

}  // namespace retemper::perceptron

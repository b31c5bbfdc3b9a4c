// Rows drawn from the model: Gaussian but for their component along the true direction.
#pragma once

#include <cstdint>

#include "retemper/core/control.hpp"
#include "retemper/core/random.hpp"
#include "retemper/perceptron/channel.hpp"

namespace retemper::perceptron {

/// Fills X, (n_rows, n_features) row-major, and the labels (n_rows,), +-1: what a labelled row
/// shows, and for an unlabelled one the hidden side. Rows [0, n_labelled) follow the law of
/// labelled rows. w_true: (n_features,), |w|^2 = n_features. Row i depends on (key, replica, i)
/// alone.
template <class Real>
void sample_rows(const RowLaw& law, const ConstVectorView& w_true, Index n_labelled, Index n_rows,
                 const PhiloxKey& key, std::uint64_t replica, Real* X, std::int8_t* label,
                 int n_threads, Control& control);

}  // namespace retemper::perceptron

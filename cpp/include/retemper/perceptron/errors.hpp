// How often a direction, or its sign, is wrong (theory 01, sections 4.6 and 4.7).
#pragma once

#include "retemper/perceptron/channel.hpp"

namespace retemper::perceptron {

/// Probability that a row outside the gap falls on the wrong side of a direction at each cosine:
/// int_kappa^inf Dh H(R h / sqrt(1 - R^2)) / H(kappa); `sine` = sqrt(1 - R^2) is given apart.
Vector error_margin(const ConstVectorView& cosine, const ConstVectorView& sine, double kappa);

/// int Dz sqrt(W(sqrt(q) z) W(-sqrt(q) z)) cos(t s(z)), s the log-odds of one label: (n_t,).
/// On panels of at most `width` in z: phases t s must not turn more than once between nodes.
Vector odds_transform(const RowLaw& law, double q, double V, double width,
                      const ConstVectorView& t);

}  // namespace retemper::perceptron

// Integrals over panels, each with an error estimate that costs no evaluation of its own.
//
// Every panel carries one Gauss-Legendre rule. The values at its nodes also give the last four
// coefficients of the integrand's Legendre series there; the error of the panel is taken to be
// what an integral could gain from a term of that size. This overestimates the error wherever the
// integrand is smooth and follows it at kinks and jumps. Two ways to use it:
//  * PanelRule: nodes and weights once, many integrands on them (hot loops, vector kernels);
//  * integrate_panels: several integrands at once, panels halved until the error is small. It also
//    compares the series of neighbouring panels where they meet, unless that is a break point:
//    what they differ by, times the gap between the outermost nodes and the edge, is an error too.
//    A jump hidden in that gap would otherwise pass unseen.
#pragma once

#include <functional>
#include <vector>

#include "retemper/core/status.hpp"
#include "retemper/core/types.hpp"

namespace retemper::numerics {

/// Value of an integral and its estimated absolute error.
struct Estimate {
  double value = 0.0;
  double error = 0.0;
  double size = 0.0;  ///< integral of the absolute value, what a relative tolerance refers to
};

/// The rule of one panel on [-1, 1].
struct PanelNodes {
  explicit PanelNodes(Index order);  ///< throws ArgumentError if order < 5
  Vector node, weight;               ///< (order,)
  Matrix null;  ///< (order, 4) give the last four Legendre terms of an integral
  Vector last;  ///< (order,) gives the series at 1; reversed, at -1
};

/// The rule of 24 nodes, which suits panels of one or two standard deviations.
const PanelNodes& standard_panel();

enum class Measure { length, gaussian };  ///< dx, or exp(-x^2 / 2) / sqrt(2 pi) dx

/// Ends, and break points inside them in order; those closer than a few rounding errors count once.
/// Throws ArgumentError unless low < high and all are finite.
Vector panel_edges(double low, double high, const ConstVectorView& breaks);

/// An even number of equal panels at most `width` long between any two edges.
Vector refine_edges(const Vector& edges, double width);

/// All nodes and weights of a chain of panels.
class PanelRule {
 public:
  /// edges: (n_panels + 1,) increasing. Keeps a reference to `panel`.
  PanelRule(const Vector& edges, Measure measure, const PanelNodes& panel = standard_panel());

  const Vector& node() const { return node_; }      ///< (n_panels * order,) increasing
  const Vector& weight() const { return weight_; }  ///< the same, the measure included

  /// Integral of the function with these values at the nodes: (n_panels * order,).
  Estimate integrate(const ConstVectorView& values) const;

 private:
  const PanelNodes& panel_;
  Vector node_, weight_;
};

/// Writes out(m, k) = f_m(x[k]); out arrives with its shape (n_functions, x.size()).
using Integrand = std::function<void(const Vector& x, RowMatrix& out)>;

struct PanelLimits {
  double tol = 1e-12;  ///< on error / size, for each function
  Index max_panels = 1000;
};

struct PanelResult {
  std::vector<Estimate> integral;  ///< (n_functions,)
  double residual = 0.0;           ///< largest error / size
  Index n_panels = 0;
  Status status = Status::converged;  ///< else max_iter (panels), stalled (cannot be halved)
};

/// Integrals of several functions over [breaks[0], breaks[end]] on panels at most `width` long,
/// those of the largest errors halved, in rounds with one call of f each, until every tolerance
/// holds. The result depends on the arguments alone. breaks: (n >= 2,) as of panel_edges.
/// Throws NumericalError, naming the place, if f is not finite.
PanelResult integrate_panels(const Integrand& f, Index n_functions, const Vector& breaks,
                             double width, Measure measure, const PanelLimits& limits = {});

/// E f_m(Z), Z ~ N(0, 1), over [-cutoff, cutoff] on panels of at most two standard deviations.
/// The error includes |f(cutoff)| and |f(-cutoff)| times phi(cutoff) / cutoff, the size of what is
/// cut off; Status::stalled if that alone is too large.
PanelResult gaussian_average(const Integrand& f, Index n_functions, const ConstVectorView& breaks,
                             double cutoff = 13.0, const PanelLimits& limits = {});

}  // namespace retemper::numerics

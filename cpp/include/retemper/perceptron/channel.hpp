// What one row says about its pre-activation: ln W(mean, variance) and its two derivatives in mean.
#pragma once

#include "retemper/core/types.hpp"

namespace retemper::perceptron {

enum class Law { margin, cluster };

/// Law of the rows, dimensionless. margin: the density of h = w.x / sqrt(n) is cut inside
/// |h + sigma n - offset| < kappa; cluster: two unit Gaussians at +-cluster_mean.
struct RowLaw {
  Law law = Law::margin;
  double kappa = 1.0;         ///< margin, >= 0
  double sigma = 0.0;         ///< softness of the margin, >= 0
  double eta_u = 0.0;         ///< share of unlabelled rows that are background, in [0, 1)
  double eta_l = 0.0;         ///< probability of a flipped label, in [0, 1/2)
  double cluster_mean = 0.0;  ///< of the clusters, cluster only, >= 0
  double offset = 0.0;        ///< centre of the gap
  bool is_centred = false;    ///< fields count from the mean of the unlabelled rows, not from zero

  /// Throws ArgumentError, naming the field, unless every field is in its domain.
  void validate() const;
};

/// Labelled rows enter with their label: the mean of their field is taken times y.
enum class RowKind { unlabelled, positive, negative };

/// The functions below want buffers of this many doubles, or a multiple.
constexpr Index lanes = 16;
constexpr Index padded(Index n) {
  return (n + lanes - 1) / lanes * lanes;
}

/// E h and E h^2 - 1 of one kind of row.
struct HermiteMoments {
  double first = 0.0, second = 0.0;
};

/// The constants of one kind of row.
class Channel {
 public:
  Channel(const RowLaw& law, RowKind kind);

  /// For each field of posterior mean[i], i < n, and variance > 0 (theory 01, section 4.1):
  /// log_w = ln W, g = d ln W / d mean, dg = dg / d mean. n must be a multiple of `lanes`.
  void score(const double* mean, double variance, Index n, double* log_w, double* g,
             double* dg) const;
  void score(const double* mean, const double* variance, Index n, double* log_w, double* g,
             double* dg) const;

  const HermiteMoments& moments() const { return moments_; }

  /// Whether the density has a wall on that side of the gap.
  bool has_upper_wall() const { return form_ != Form::cluster; }
  bool has_lower_wall() const { return form_ == Form::mixture || form_ == Form::background; }
  double kappa() const { return kappa_; }
  double sigma2() const { return sigma2_; }

  struct Constants {
    double kappa, sigma2, offset;
    double plus, minus;     // weights of the two sides
    double log_norm;        // of 1 / (their normaliser)
    double log_background;  // ln eta_u
    double tilt;            // mean that was taken off: h = field + tilt
    double cluster_mean;
    bool is_even;  // cluster, unlabelled
  };

 private:
  enum class Form { one_sided, mixture, background, cluster };
  template <class Variance>
  void dispatch(const double* mean, Variance V, Index n, double* log_w, double* g,
                double* dg) const;

  Form form_;
  Constants c_;
  double kappa_, sigma2_;
  HermiteMoments moments_;
};

/// Scores of fields of one kind, (n,) each; as in Channel::score.
struct ChannelScore {
  Vector log_w, g, dg;
};
/// mean: (n,); variance: (n,) or (1,), in (0, 1].
ChannelScore channel_score(const RowLaw& law, RowKind kind, const ConstVectorView& mean,
                           const ConstVectorView& variance, int n_threads);

}  // namespace retemper::perceptron

#include "retemper/perceptron/channel.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <string>

#include "retemper/core/error.hpp"
#include "retemper/core/parallel.hpp"
#include "retemper/numerics/vector_math.hpp"

namespace retemper::perceptron {

namespace {

namespace vm = numerics::vm;
constexpr double one_over_sqrt_2pi = 0.39894228040143267794;

struct Score {
  double log_w, g, dg;
};

/// ln[(plus Phi(a+) + minus Phi(a-)) norm], a+- = (+-(mean - offset) - kappa) / s. The side of
/// the field has the larger argument and sets the scale, so nothing under- or overflows.
RETEMPER_VM Score two_sided(double mean, double V, const Channel::Constants& c) {
  const double inverse_s2 = 1.0 / (V + c.sigma2);
  const double inverse_s = std::sqrt(inverse_s2);
  const double x = mean - c.offset;
  const double size = std::fabs(x);
  const bool is_plus = x >= 0.0;
  const double weight_high = is_plus ? c.plus : c.minus;
  const double weight_low = is_plus ? c.minus : c.plus;

  const double high = (size - c.kappa) * inverse_s;
  const double t = std::fabs(high);
  const double t_low = (size + c.kappa) * inverse_s;
  const bool is_left = high < 0.0;
  const double excess = vm::hazard_excess(t);  // r(-t) - t
  const double excess_low = vm::hazard_excess(t_low);
  const double hazard_low = t_low + excess_low;
  const double hazard_left = t + excess;
  const double inverse = one_over_sqrt_2pi / (hazard_low * hazard_left);
  const double gauss = vm::exp(-0.5 * t * t);
  const double gauss_low =
      vm::exp(is_left ? -2.0 * c.kappa * size * inverse_s2 : -0.5 * t_low * t_low);

  // Phi of both arguments over e^(-high^2 / 2) if high < 0, over one if not
  const double tail = hazard_low * inverse;
  const double value = is_left ? tail : 1.0 - gauss * tail;
  const double value_low = gauss_low * hazard_left * inverse;
  const double sum = weight_high * value + weight_low * value_low;
  const double inverse_sum = 1.0 / sum;
  // p_j r_j with p_j the posterior of side j; p_j r_j = weight_j phi_j / sum holds on the right too
  const double flow =
      weight_high * (is_left ? one_over_sqrt_2pi : one_over_sqrt_2pi * gauss) * inverse_sum;
  const double flow_low = weight_low * gauss_low * one_over_sqrt_2pi * inverse_sum;
  const double p_high = weight_high * value * inverse_sum;
  const double p_low = weight_low * value_low * inverse_sum;
  const double hazard = is_left ? hazard_left : gauss * one_over_sqrt_2pi / value;
  const double both = hazard + hazard_low;

  Score out{};
  out.log_w = (is_left ? -0.5 * t * t : 0.0) + (vm::log(sum) + c.log_norm);
  out.g = (is_plus ? inverse_s : -inverse_s) * (flow - flow_low);
  out.dg = inverse_s2 * (p_high * p_low * both * both -
                         (flow * (is_left ? excess : hazard + high) + flow_low * excess_low));
  return out;
}

/// The same with a background of constant density under it.
RETEMPER_VM Score with_background(double mean, double V, const Channel::Constants& c) {
  const Score s = two_sided(mean, V, c);
  const double gap = s.log_w - c.log_background;
  const double smaller = vm::exp(-std::fabs(gap));
  const double inverse = 1.0 / (1.0 + smaller);
  const double p = gap > 0.0 ? inverse : smaller * inverse;
  const double rest = gap > 0.0 ? smaller * inverse : inverse;
  return {(gap > 0.0 ? s.log_w : c.log_background) + vm::log(1.0 + smaller), p * s.g,
          p * s.dg + p * rest * s.g * s.g};
}

/// ln[Phi((mean - offset - kappa) / s) norm].
RETEMPER_VM Score one_sided(double mean, double V, const Channel::Constants& c) {
  const double inverse_s2 = 1.0 / (V + c.sigma2);
  const double inverse_s = std::sqrt(inverse_s2);
  const double a = (mean - c.offset - c.kappa) * inverse_s;
  const double t = std::fabs(a);
  const bool is_left = a < 0.0;
  const double excess = vm::hazard_excess(t);
  const double hazard_left = t + excess;
  const double gauss = vm::exp(-0.5 * t * t);
  const double tail = one_over_sqrt_2pi / hazard_left;
  const double value = is_left ? tail : 1.0 - gauss * tail;
  const double hazard = is_left ? hazard_left : gauss * one_over_sqrt_2pi / value;
  return {(is_left ? -0.5 * t * t : 0.0) + (vm::log(value) + c.log_norm), hazard * inverse_s,
          -inverse_s2 * hazard * (is_left ? excess : hazard + a)};
}

RETEMPER_VM Score cluster(double mean, double V, const Channel::Constants& c) {
  const double x = c.cluster_mean * mean;
  const double size = std::fabs(x);
  const double e = vm::exp(-2.0 * size);
  const double x2 = size * size;
  const double series =  // tanh x for small x, error x^11
      x *
      (1.0 + x2 * (-1.0 / 3.0 + x2 * (2.0 / 15.0 + x2 * (-17.0 / 315.0 + x2 * (62.0 / 2835.0)))));
  const double ratio = (1.0 - e) / (1.0 + e);
  const double tanh = size < 0.03 ? series : (x < 0.0 ? -ratio : ratio);
  const double drift = -0.5 * c.cluster_mean * c.cluster_mean * (1.0 - V);
  const double even = size + vm::log(0.5 * (1.0 + e));
  return {drift + (c.is_even ? even : x), c.cluster_mean * (c.is_even ? tanh : 1.0),
          c.is_even ? c.cluster_mean * c.cluster_mean * (1.0 - tanh * tanh) : 0.0};
}

struct One {
  double value;
  RETEMPER_VM double operator[](Index) const { return value; }
};

template <class Variance, class Function>
void each(const double* mean, Variance V, Index n, const Channel::Constants& constants,
          double* log_w, double* g, double* dg, Function f) {
  const Channel::Constants c = constants;
#pragma omp simd
  for (Index i = 0; i < n; ++i) {
    // density of h over the Gaussian of the centred field: e^(-tilt field - tilt^2 / 2) more
    const double rest = c.tilt * (1.0 - V[i]);
    const Score s = f(mean[i] + rest, V[i], c);
    log_w[i] = s.log_w - c.tilt * (mean[i] + 0.5 * rest);
    g[i] = s.g - c.tilt;
    dg[i] = s.dg;
  }
}

double upper(double x) {  // H(x)
  return vm::ndtr(-x);
}

void require_in(bool inside, const char* name, double value, const char* domain) {
  if (!inside)
    throw ArgumentError(std::string(name) + " must lie in " + domain + ", got " +
                        std::to_string(value));
}

}  // namespace

void RowLaw::validate() const {
  require_in(kappa >= 0.0 && kappa <= 30.0, "kappa", kappa, "[0, 30]");
  require_in(sigma >= 0.0 && std::isfinite(sigma), "sigma", sigma, "[0, inf)");
  require_in(eta_u >= 0.0 && eta_u < 1.0, "eta_u", eta_u, "[0, 1)");
  require_in(eta_l >= 0.0 && eta_l < 0.5, "eta_l", eta_l, "[0, 0.5)");
  require_in(cluster_mean >= 0.0 && cluster_mean <= 20.0, "cluster_mean", cluster_mean, "[0, 20]");
  require_in(std::abs(offset) <= 30.0, "offset", offset, "[-30, 30]");
}

Channel::Channel(const RowLaw& law, RowKind kind)
    : form_(Form::mixture), c_{}, kappa_(law.kappa), sigma2_(law.sigma * law.sigma) {
  law.validate();
  const bool is_unlabelled = kind == RowKind::unlabelled;
  const double sign = kind == RowKind::negative ? -1.0 : 1.0;
  c_.kappa = law.kappa;
  c_.sigma2 = sigma2_;
  c_.offset = sign * law.offset;
  c_.cluster_mean = law.cluster_mean;
  c_.is_even = is_unlabelled;
  const double scale = 1.0 / std::sqrt(1.0 + sigma2_);
  const double above = upper((law.kappa + c_.offset) * scale);  // weight of the positive side
  const double below = upper((law.kappa - c_.offset) * scale);
  if (law.law == Law::cluster) {
    form_ = Form::cluster;
  } else if (is_unlabelled) {
    c_.plus = c_.minus = 1.0;
    c_.log_norm = std::log((1.0 - law.eta_u) / (above + below));
    c_.log_background = std::log(law.eta_u);  // -inf where there is none
    if (law.eta_u > 0.0) form_ = Form::background;
  } else {
    c_.plus = 1.0 - law.eta_l;
    c_.minus = law.eta_l;
    c_.log_norm = -std::log(c_.plus * above + c_.minus * below);
    if (law.eta_l == 0.0) form_ = Form::one_sided;
  }
  if (law.is_centred) {
    RowLaw plain = law;
    plain.is_centred = false;
    c_.tilt = sign * Channel(plain, RowKind::unlabelled).moments().first;
  }
  std::array<double, lanes> zero{}, log_w{}, g{}, dg{};
  score(zero.data(), 1.0, lanes, log_w.data(), g.data(), dg.data());
  moments_ = {g[0], dg[0] + g[0] * g[0]};
}

template <class Variance>
void Channel::dispatch(const double* mean, Variance V, Index n, double* log_w, double* g,
                       double* dg) const {
  const auto run = [&](auto f) { each(mean, V, n, c_, log_w, g, dg, f); };
  using C = Constants;
  switch (form_) {
    case Form::one_sided:
      return run([](double w, double v, const C& c) { return one_sided(w, v, c); });
    case Form::mixture:
      return run([](double w, double v, const C& c) { return two_sided(w, v, c); });
    case Form::background:
      return run([](double w, double v, const C& c) { return with_background(w, v, c); });
    case Form::cluster:
      return run([](double w, double v, const C& c) { return cluster(w, v, c); });
  }
}

void Channel::score(const double* mean, double V, Index n, double* log_w, double* g,
                    double* dg) const {
  dispatch(mean, One{V}, n, log_w, g, dg);
}

void Channel::score(const double* mean, const double* V, Index n, double* log_w, double* g,
                    double* dg) const {
  dispatch(mean, V, n, log_w, g, dg);
}

ChannelScore channel_score(const RowLaw& law, RowKind kind, const ConstVectorView& mean,
                           const ConstVectorView& variance, int n_threads) {
  const Index n = mean.size();
  require(variance.size() == n || variance.size() == 1,
          "variance must have one entry, or one for every mean");
  for (Index i = 0; i < variance.size(); ++i)
    if (!(variance[i] > 0.0 && variance[i] <= 1.0))
      throw ArgumentError("variance must lie in (0, 1], got " + std::to_string(variance[i]));
  const Channel channel(law, kind);
  ChannelScore out{Vector(n), Vector(n), Vector(n)};
  constexpr Index block = 512;
  constexpr Index grain = 64;  // blocks that pay for one more thread
  const Index n_blocks = (n + block - 1) / block;
  parallel_for(n_blocks, threads_for(n_blocks, grain, n_threads), [&](Index b) {
    const Index first = b * block;
    const Index length = std::min(block, n - first);
    const bool is_whole = length % lanes == 0;
    std::array<std::array<double, block>, 5> copy;  // the last block is padded
    const double* field = mean.data() + first;
    if (!is_whole) {
      copy[0].fill(0.0);
      std::copy_n(field, length, copy[0].data());
      field = copy[0].data();
    }
    const auto target = [&](std::size_t k, Vector& v) {
      return is_whole ? v.data() + first : copy[k].data();
    };
    double *log_w = target(1, out.log_w), *g = target(2, out.g), *dg = target(3, out.dg);
    if (variance.size() == 1) {
      channel.score(field, variance[0], padded(length), log_w, g, dg);
    } else {
      const double* own = variance.data() + first;
      if (!is_whole) {
        copy[4].fill(1.0);
        std::copy_n(own, length, copy[4].data());
        own = copy[4].data();
      }
      channel.score(field, own, padded(length), log_w, g, dg);
    }
    if (!is_whole) {
      std::copy_n(log_w, length, out.log_w.data() + first);
      std::copy_n(g, length, out.g.data() + first);
      std::copy_n(dg, length, out.dg.data() + first);
    }
  });
  return out;
}

}  // namespace retemper::perceptron

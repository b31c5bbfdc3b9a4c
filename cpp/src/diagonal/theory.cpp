#include "retemper/diagonal/theory.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "retemper/core/parallel.hpp"
#include "retemper/diagonal/mirror.hpp"
#include "retemper/numerics/root.hpp"

namespace retemper::diagonal {

namespace {

constexpr double reach = 9.0;             // standard deviations covered by the quadrature
constexpr double end_tol = 0.02;          // of the ends of the quadrature, which lie too far out
constexpr double quadrature_tol = 1e-11;  // doubling stops here
constexpr double certified = 1e-11;       // residual of a solution
constexpr double rough_nodes = 0.4, most_refinement = 32.0;  // in units of the usual nodes
constexpr Index block = 8;  // neighbouring problems that are solved one after the other
constexpr double inv_sqrt_2pi = 0.39894228040143267794;

struct Moments {
  double error, dof, rest, drift;  // rest = 1 - dof, kept for its relative precision
};

/// What is left of equations (1) and (2), relative.
struct Excess {
  double tau, dof;
  double size() const { return std::max(std::abs(tau), std::abs(dof)); }
};

/// Mirror coordinates between which z covers mean +- reach standard deviations, as differences
/// from that of the mean, `middle`: narrow laws keep their relative precision.
struct Range {
  double middle, low, high;
};

Range narrow_range(double m, double sd, double c, double u0, double theta) {
  const double middle = mirror_prox(m, c, theta, u0);
  Range out{middle, 0.0, 0.0};
  for (double* end : {&out.low, &out.high}) {
    const double target = end == &out.low ? -reach * sd : reach * sd;
    double delta = target / (c * std::cosh(middle) + 0.5 * theta);
    for (int i = 0; i < 8; ++i) {
      const double rise =
          2.0 * c * std::cosh(middle + 0.5 * delta) * std::sinh(0.5 * delta) + 0.5 * theta * delta;
      delta -= (rise - target) / (c * std::cosh(middle + delta) + 0.5 * theta);
    }
    *end = delta;
  }
  return out;
}

/// Steps of the trapezoidal rule. None where the search has left the range of doubles, in which
/// asinh of a ratio is below 1500 in size: every average is then NaN. An int, which AVX2 makes a
/// double four at a time: with 64 bits the loops over the nodes would stay scalar there.
int n_steps(double width, double longest, double refine) {
  constexpr double most_width = 4000.0;
  if (!(width <= most_width)) return 0;
  return static_cast<int>(refine * (80.0 + std::floor(width / longest)));
}

/// The same for more than two layers: `middle_tanh` and `middle_cosh` are those of r middle.
struct DeepRange {
  Range range;
  double middle_tanh, middle_cosh;
};

/// beta(middle + delta) - beta(middle), and the same of tanh(r u), to relative precision.
struct DeepRise {
  double coef, tanh;
};

RETEMPER_VM DeepRise deep_rise(const DeepMirror& m, const DeepRange& at, double delta) {
  const double middle = at.range.middle;
  const SinhCosh half = sinh_cosh(0.5 * delta), part = sinh_cosh(0.5 * m.r * delta);
  const double part_sinh = 2.0 * part.sinh * part.cosh, squared = 2.0 * part.sinh * part.sinh;
  const double ratio = squared + at.middle_tanh * part_sinh;  // cosh(r u) / cosh(r middle) - 1
  // log(1 + ratio), also where that is small
  const double one_more = 1.0 + ratio, rounded = one_more - 1.0;
  const double log_ratio = rounded == 0.0 ? ratio : numerics::vm::log(one_more) * (ratio / rounded);
  const SinhCosh growth = sinh_cosh(0.5 * log_ratio / m.r);
  const double more = 2.0 * growth.sinh * (growth.sinh + growth.cosh);  // of cosh(r u)^(1 / r)
  const double before = m.c * numerics::vm::exp(numerics::vm::log(at.middle_cosh) / m.r);
  const double sinh_rise = 2.0 * sinh_cosh(middle + 0.5 * delta).cosh * half.sinh;
  return {before * (sinh_rise * (1.0 + more) + sinh_cosh(middle).sinh * more),
          part_sinh / (at.middle_cosh * at.middle_cosh * one_more)};
}

DeepRange deep_narrow_range(double m, double sd, const DeepMirror& mirror, double u0,
                            double theta) {
  const double middle = deep_prox(mirror, m, theta, u0), inside = mirror.r * middle;
  DeepRange out{{middle, 0.0, 0.0}, std::tanh(inside), std::cosh(inside)};
  const double full = theta * mirror.stiffness / mirror.r, stiff = theta * mirror.stiffness;
  const auto slope = [&](double u) {
    const DeepPoint at = deep_point(mirror, u);
    return at.slope + stiff * at.sech2;
  };
  for (double* end : {&out.range.low, &out.range.high}) {
    const double target = end == &out.range.low ? -reach * sd : reach * sd;
    double delta = target / slope(middle);
    for (int i = 0; i < 8; ++i) {
      const DeepRise rise = deep_rise(mirror, out, delta);
      delta -= (rise.coef + full * rise.tanh - target) / slope(middle + delta);
    }
    *end = delta;
  }
  return out;
}

/// Averages over one component of a network of more than two layers, in its mirror coordinate.
template <bool Narrow>
Moments deep_component(double m, double v, const DeepMirror& mirror, double u0, double source,
                       double tau, double theta, double refine) {
  const double total = v + tau, sd = std::sqrt(total);
  DeepRange at{};
  if constexpr (Narrow) {
    at = deep_narrow_range(m, sd, mirror, u0, theta);
  } else {
    at.range = {0.0, deep_prox(mirror, m - reach * sd, theta, u0, end_tol),
                deep_prox(mirror, m + reach * sd, theta, u0, end_tol)};
  }
  const Range& range = at.range;
  const double width = range.high - range.low;
  const int n = n_steps(width, 0.1, refine);
  const double h = width / static_cast<double>(n);
  const double slope = v / total, rest = tau / total, inv_sd = 1.0 / sd;
  const double stiff = theta * mirror.stiffness, full = stiff / mirror.r;
  const double start = std::tanh(mirror.r * u0);
  const double middle_shift = full * (at.middle_tanh - start);
  double error = 0.0, dof = 0.0, lost = 0.0, drift = 0.0;
#pragma omp simd reduction(+ : error, dof, lost, drift)
  for (int k = 0; k <= n; ++k) {
    const double delta = range.low + h * static_cast<double>(k);
    const DeepPoint point = deep_point(mirror, range.middle + delta);
    const double x = point.coef, dx = point.slope, dshift = stiff * point.sech2;
    const double shift = full * (point.tanh - start);
    double off = x - m, t = 0.0;  // t = (z - m) / sd
    if constexpr (Narrow) {
      const DeepRise rise = deep_rise(mirror, at, delta);
      off = rise.coef - middle_shift;
      t = (rise.coef + full * rise.tanh) * inv_sd;
    } else {
      t = (off + shift) * inv_sd;
    }
    const double p = numerics::vm::exp(-0.5 * t * t);
    const double away = rest * off - slope * shift;  // x - E[B | z]
    const double gone = x - source;
    const double weight = p * (dx + dshift);
    dof += p * dx;
    lost += p * dshift;
    error += weight * away * away;
    drift += weight * gone * gone;
  }
  const double scale = h * inv_sd * inv_sqrt_2pi;
  return {scale * error + slope * tau, scale * dof, scale * lost, scale * drift};
}

/// Averages over one component at (tau, theta) by the trapezoidal rule in u = asinh(x / c), where
/// z = c sinh(u) + theta (u - u0) / 2 is explicit; theta is the effective mu. Narrow: the component
/// is far from zero in units of its width, and x - m must not be formed as a difference.
template <bool Narrow>
Moments component(double m, double v, double c, double u0, double source, double tau, double theta,
                  double refine) {
  const double total = v + tau, sd = std::sqrt(total), half = 0.5 * theta;
  const Range range = Narrow ? narrow_range(m, sd, c, u0, theta)
                             : Range{0.0, mirror_prox(m - reach * sd, c, theta, u0, end_tol),
                                     mirror_prox(m + reach * sd, c, theta, u0, end_tol)};
  const double width = range.high - range.low;
  const int n = n_steps(width, 0.15, refine);
  const double h = width / static_cast<double>(n);
  const double slope = v / total, rest = tau / total, inv_sd = 1.0 / sd;
  const double middle = range.middle, middle_shift = half * (middle - u0);
  double error = 0.0, dof = 0.0, mass = 0.0, drift = 0.0;
#pragma omp simd reduction(+ : error, dof, mass, drift)
  for (int k = 0; k <= n; ++k) {
    const double delta = range.low + h * static_cast<double>(k);
    const double u = middle + delta;
    const SinhCosh sc = sinh_cosh(u);
    const double x = c * sc.sinh, dx = c * sc.cosh;
    double off = x - m, t = 0.0;  // t = (z - m) / sd
    const double shift = half * (u - u0);
    if constexpr (Narrow) {
      const double moved =
          2.0 * c * sinh_cosh(middle + 0.5 * delta).cosh * sinh_cosh(0.5 * delta).sinh;
      off = moved - middle_shift;
      t = (moved + half * delta) * inv_sd;
    } else {
      t = (off + shift) * inv_sd;
    }
    const double p = numerics::vm::exp(-0.5 * t * t);
    const double away = rest * off - slope * shift;  // x - E[B | z]
    const double lost = x - source;
    const double weight = p * (dx + half);
    dof += p * dx;
    mass += p;
    error += weight * away * away;
    drift += weight * lost * lost;
  }
  const double scale = h * inv_sd * inv_sqrt_2pi;
  return {scale * error + slope * tau, scale * dof, scale * half * mass, scale * drift};
}

/// Root in [floor, ceiling] of a function with one change of sign, from positive to negative:
/// steps out of `guess` with doubling width, then closes in.
template <class F>
numerics::Root falling_root(F&& f, double guess, double width, double floor, double ceiling,
                            double tol) {
  double x = std::clamp(guess, floor, ceiling), fx = f(x);
  const bool goes_up = fx > 0.0;
  for (;; width *= 2.0) {
    const double next = goes_up ? std::min(ceiling, x + width) : std::max(floor, x - width);
    if (fx == 0.0 || next == x) break;
    const double f_next = f(next);
    if ((f_next > 0.0) != goes_up) {
      const numerics::Bracket around =
          goes_up ? numerics::Bracket{x, next, fx, f_next} : numerics::Bracket{next, x, f_next, fx};
      return numerics::bracketed_root(f, around, {100, tol});
    }
    x = next;
    fx = f_next;
  }
  return {x, fx, 0, fx == 0.0 ? Status::converged : Status::no_solution};
}

/// A part of the law and the probability it stands for.
struct Part {
  Index k;
  double weight;
};

class Equations {
 public:
  Equations(const Law& law, const Channel& channel, Control& control)
      : law_(law), channel_(channel), control_(control) {
    for (Index k = 0; k < law.size(); ++k) {
      const double w = law.weight[k];
      const double second = law.mean[k] * law.mean[k] + law.var[k];
      if (law.scale[k] > 0.0) {
        active_ += w;
        if (w > 0.0) free_.push_back({k, w});
        const double to_centre = law.mean[k] - coef_at(law.scale[k], law.centre[k]);
        largest_ += w * std::max(second, to_centre * to_centre + law.var[k]);
      } else {
        frozen_ += w * second;
      }
    }
    const double noise = tau_of(0.0);
    lowest_ = noise > 0.0 ? std::log(noise) : std::log(typical_tau()) - 600.0;
    highest_ = std::log(typical_tau()) + 200.0;
    require(active_ > 0.0, "every coordinate is frozen at zero: all fine-tuning scales vanish");
    make_sketch();
  }

  /// Error and degrees of freedom at (tau, theta).
  Moments averages(double tau, double theta, double refine) {
    Moments sum{frozen_, 0.0, 0.0, 0.0};
    for (const auto& [k, w] : is_sketch ? sketch_ : free_) {
      const Moments one = moments_of(k, tau, theta, refine);
      sum.error += w * one.error;
      sum.dof += w * one.dof;
      sum.rest += w * one.rest;
    }
    control_.check();
    ++n_pass;
    return sum;
  }

  double effective_noise() const { return channel_.noise_var + frozen_; }
  double active() const { return active_; }
  double tau_of(double error) const { return (channel_.noise_var + error) / channel_.alpha; }
  /// Size of tau and of the ratio b if nothing better is known.
  double typical_tau() const { return tau_of(frozen_ + largest_); }
  double typical_ratio() const {
    double largest_scale = 0.0;
    for (const auto& [k, w] : free_) largest_scale = std::max(largest_scale, law_.scale[k]);
    const double size = std::sqrt(typical_tau());
    if (law_.depth == 2.0) return 0.5 * asinh_ratio(size, largest_scale);
    const DeepMirror mirror = DeepMirror::of(largest_scale, law_.depth);
    return mirror.force(deep_prox(mirror, size, 0.0, 0.0));
  }

  /// Equation (2), relative to alpha; the smaller of dof and its rest carries the precision.
  double excess_dof(const Moments& at, double theta) const {
    const double gap = channel_.alpha < 0.5 * active_ ? at.dof - channel_.alpha
                                                      : (active_ - channel_.alpha) - at.rest;
    return (gap + channel_.mu / theta) / channel_.alpha;
  }

  /// Equation (1) in log tau at a fixed ratio b = sqrt(tau) / theta, from the last solution. The
  /// min-max problem behind the equations is convex in sqrt(tau) and concave in b, so that here
  /// and in b there is one root; at fixed tau there can be several theta (warm starts).
  double tau_at(double b, double refine, double tol) {
    const auto excess = [&](double log_tau) {
      const double tau = std::exp(log_tau);
      last_ = averages(tau, std::sqrt(tau) / b, refine);
      return tau_of(last_.error) / tau - 1.0;
    };
    const numerics::Root root = falling_root(excess, log_tau_, spread_, lowest_, highest_, tol);
    spread_ = std::clamp(std::abs(root.x - log_tau_), 1e-9, 1.0);
    log_tau_ = root.x;
    excess(root.x);
    return std::exp(root.x);
  }

  /// Newton's iteration for both equations in (log tau, log theta), kept while it improves; the
  /// derivatives are differences at first and when progress ends, else Broyden's updates. Any
  /// common root is the solution: the problem behind the equations has one saddle.
  double polish(double& tau, double& theta, double refine) {
    constexpr double step = 1e-6, enough = 1e-13;
    const auto equations = [&](double log_tau, double log_theta) {
      const double t = std::exp(log_tau), r = std::exp(log_theta);
      const Moments at = averages(t, r, refine);
      return Excess{tau_of(at.error) / t - 1.0, excess_dof(at, r)};
    };
    double x = std::log(tau), y = std::log(theta);
    double a = 0.0, b = 0.0, c = 0.0, d = 0.0;  // derivatives of tau and dof in x and y
    Excess f = equations(x, y);
    bool is_fresh = false, is_stale = true;
    for (int i = 0; i < 16 && f.size() > enough; ++i) {
      if (is_stale) {
        const auto fx = equations(x + step, y), fy = equations(x, y + step);
        a = (fx.tau - f.tau) / step, b = (fy.tau - f.tau) / step;
        c = (fx.dof - f.dof) / step, d = (fy.dof - f.dof) / step;
        is_fresh = true;
      }
      const double det = a * d - b * c;
      const double dx = (b * f.dof - d * f.tau) / det, dy = (c * f.tau - a * f.dof) / det;
      const bool is_short = std::abs(dx) < 1.0 && std::abs(dy) < 1.0;
      const auto next = is_short ? equations(x + dx, y + dy) : f;
      if (!(next.size() < f.size())) {
        if (is_fresh) break;
        is_stale = true;
        continue;
      }
      is_stale = next.size() > 0.1 * f.size();
      is_fresh = false;
      const double square = dx * dx + dy * dy;
      a += next.tau * dx / square, b += next.tau * dy / square;
      c += next.dof * dx / square, d += next.dof * dy / square;
      x += dx;
      y += dy;
      f = next;
    }
    tau = std::exp(x);
    theta = std::exp(y);
    return f.size();
  }

  const Moments& last() const { return last_; }

  void start_tau(double tau) {
    log_tau_ = std::log(tau);
    spread_ = 0.3;
  }

  /// Fills what is reported, and the certificate.
  void finish(FixedPoint& out, double refine) {
    const Index n = law_.size();
    out.mse_of.resize(n);
    out.drift_of.resize(n);
    Moments sum{0.0, 0.0, 0.0, 0.0};
    for (Index k = 0; k < n; ++k) {
      Moments one{law_.mean[k] * law_.mean[k] + law_.var[k], 0.0, 1.0,
                  law_.source[k] * law_.source[k]};
      if (law_.scale[k] > 0.0) {
        one = out.effective_mu > 0.0
                  ? moments_of(k, out.tau, out.effective_mu, refine)
                  : Moments{out.tau, 1.0, 0.0,
                            std::pow(law_.mean[k] - law_.source[k], 2) + law_.var[k] + out.tau};
      }
      out.mse_of[k] = one.error;
      out.drift_of[k] = one.drift;
      sum.error += law_.weight[k] * one.error;
      sum.dof += law_.weight[k] * one.dof;
      if (law_.scale[k] > 0.0) sum.rest += law_.weight[k] * one.rest;
    }
    out.mse = sum.error;
    out.dof = sum.dof;
    const double first = tau_of(sum.error) / out.tau - 1.0;
    const double second = out.effective_mu > 0.0 ? excess_dof(sum, out.effective_mu) : 0.0;
    out.residual = out.tau > 0.0 ? std::max(std::abs(first), std::abs(second)) : 0.0;
    out.n_iter = n_pass;
  }

  Index n_pass = 0;
  bool is_sketch = false;  ///< whether neighbouring parts of a large law are taken together

 private:
  /// Runs of neighbours, of a bounded share in probability and mean square, and the heaviest of
  /// each: where the search starts.
  void make_sketch() {
    constexpr double most = 1.0 / 32;
    double share = 0.0, square = 0.0;
    for (const auto& [k, w] : free_) {
      const double part = w * (law_.mean[k] * law_.mean[k] + law_.var[k]);
      share += w;
      square += part;
      if (sketch_.empty() || share > most * active_ || square > most * largest_) {
        sketch_.push_back({k, w});
        share = w;
        square = part;
      } else {
        Part& run = sketch_.back();
        if (w > law_.weight[run.k]) run.k = k;
        run.weight += w;
      }
    }
  }

  double coef_at(double scale, double u) const {
    if (law_.depth == 2.0) return scale * std::sinh(u);
    return deep_point(DeepMirror::of(scale, law_.depth), u).coef;
  }

  Moments moments_of(Index k, double tau, double theta, double refine) const {
    const double width = std::sqrt(law_.var[k] + tau);
    const bool is_narrow = std::abs(law_.mean[k]) > 1e3 * width;
    if (law_.depth > 2.0) {
      const auto deep = is_narrow ? &deep_component<true> : &deep_component<false>;
      return deep(law_.mean[k], law_.var[k], DeepMirror::of(law_.scale[k], law_.depth),
                  law_.centre[k], law_.source[k], tau, theta, refine);
    }
    const auto compute = is_narrow ? &component<true> : &component<false>;
    return compute(law_.mean[k], law_.var[k], law_.scale[k], law_.centre[k], law_.source[k], tau,
                   theta, refine);
  }

  const Law& law_;
  const Channel& channel_;
  Control& control_;
  std::vector<Part> free_, sketch_;
  double active_ = 0.0, frozen_ = 0.0, largest_ = 0.0;
  Moments last_{};
  double log_tau_ = 0.0, spread_ = 0.3, lowest_ = 0.0, highest_ = 0.0;
};

/// Fills what is reported, and the change on doubling the nodes.
void certify(Equations& equations, const Channel& channel, FixedPoint& out, double refine) {
  equations.finish(out, refine);
  const Moments finer = equations.averages(out.tau, out.effective_mu, 2.0 * refine);
  out.quadrature_error = std::max(std::abs(finer.error - out.mse) / out.mse,
                                  std::abs(finer.dof - out.dof) / channel.alpha);
  out.n_iter = equations.n_pass;
}

/// More samples than free coordinates and no penalty: least squares, whatever the scales.
FixedPoint least_squares(Equations& equations, const Channel& channel) {
  FixedPoint out;
  const double spare = channel.alpha - equations.active();
  const double noise = equations.effective_noise();
  if (spare <= 0.0 && noise > 0.0) {
    const double infinity = std::numeric_limits<double>::infinity();
    out.mse = out.tau = infinity;
    out.dof = equations.active();
    out.status = Status::no_solution;
    return out;
  }
  out.tau = noise > 0.0 ? noise / spare : 0.0;
  equations.finish(out, 1.0);
  return out;
}

}  // namespace

void Law::validate() const {
  for (const Vector* a : {&mean, &var, &scale, &centre, &source})
    require(a->size() == size(), "the parts of a law differ in length");
  require(depth >= 2.0, "depth must be at least 2");
}

FixedPoint solve_fixed_point(const Law& law, const Channel& channel, const Start& start,
                             Control& control) {
  Equations equations(law, channel, control);
  if (channel.mu == 0.0 && channel.alpha >= equations.active()) {
    FixedPoint out = least_squares(equations, channel);
    if (out.status != Status::converged) {
      out.mse_of = out.drift_of = Vector::Constant(law.size(), out.mse);
    }
    return out;
  }
  FixedPoint out;
  double refine = 1.0;
  // Newton's iteration, with more nodes while they matter
  const auto polished = [&] {
    for (;; refine *= 2.0) {
      if (!(equations.polish(out.tau, out.effective_mu, refine) < certified)) return false;
      certify(equations, channel, out, refine);
      if (!(out.residual < certified)) return false;
      if (out.quadrature_error <= quadrature_tol) return true;
      if (refine >= most_refinement) return false;
    }
  };
  if (start.tau > 0.0 && start.effective_mu > 0.0) {
    out.tau = start.tau;
    out.effective_mu = start.effective_mu;
    if (polished()) return out;
    refine = 1.0;
  }
  equations.start_tau(equations.typical_tau());
  double guess = std::log(equations.typical_ratio()), width = 1.0;
  const auto search = [&](double nodes, double tau_tol, double tol) {
    const auto excess = [&](double log_ratio) {
      const double ratio = std::exp(log_ratio);
      const double tau = equations.tau_at(ratio, nodes, tau_tol);
      return -equations.excess_dof(equations.last(), std::sqrt(tau) / ratio);
    };
    const numerics::Root root = falling_root(excess, guess, width, -720.0, 720.0, tol);
    out.tau = equations.tau_at(std::exp(root.x), nodes, tau_tol);
    out.effective_mu = std::sqrt(out.tau) / std::exp(root.x);
    guess = root.x;
    width = 0.05;
  };
  for (const bool is_sketch : {true, false}) {
    equations.is_sketch = is_sketch;
    search(rough_nodes, 1e-4, 1e-3);
    equations.is_sketch = false;
    if (polished()) return out;
    refine = 1.0;
  }
  // ill-conditioned equations: the whole search to rounding
  for (;; refine *= 2.0) {
    search(refine, 1e-14, 1e-14);
    equations.polish(out.tau, out.effective_mu, refine);
    certify(equations, channel, out, refine);
    const bool is_solved = out.residual < certified;
    if (is_solved && out.quadrature_error <= quadrature_tol) return out;
    if (!is_solved || refine >= most_refinement) break;
  }
  out.status = Status::stalled;
  return out;
}

std::vector<FixedPoint> solve_fixed_points(const std::vector<Law>& laws,
                                           const std::vector<Channel>& channels, int n_threads,
                                           Control& control) {
  require(laws.size() == channels.size(), "laws and channels differ in number");
  for (const Law& law : laws) law.validate();
  const Index n = static_cast<Index>(laws.size()), n_blocks = (n + block - 1) / block;
  std::vector<FixedPoint> out(laws.size());
  control.set_total(n);
  parallel_for(n_blocks, threads_for(n, 4, n_threads), control, [&](Index b) {
    Start start;
    const Index first = b * block, end = std::min(n, first + block);
    for (Index i = first; i < end; ++i) {
      const auto at = static_cast<std::size_t>(i);
      out[at] = solve_fixed_point(laws[at], channels[at], start, control);
      const bool is_good = out[at].status == Status::converged;
      start = is_good ? Start{out[at].tau, out[at].effective_mu} : Start{};
    }
    control.advance(end - first - 1);  // and one by the loop itself
  });
  return out;
}

}  // namespace retemper::diagonal

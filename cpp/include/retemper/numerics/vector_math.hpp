#pragma once
/// Elementary and normal-law functions of one double, written so that a loop over them becomes
/// wide instructions: call them inside `#pragma omp simd`. No table, no call into the C
/// library; every branch is computed and then selected. All take any double, NaN included.
///
/// Needs -fno-math-errno -fno-trapping-math and must never see -ffast-math, which folds the
/// rounding by a large number away. The error in units in the last place is measured against
/// mpmath in tests/numerics/test_vector_math.py. Loops over arrays: vector_kernels.hpp.

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <iterator>
#include <limits>

#include "retemper/numerics/vector_math_coefficients.hpp"

#if defined(__FAST_MATH__)
#error "vector_math.hpp is wrong under -ffast-math"
#endif

#if defined(__GNUC__)
#define RETEMPER_VM [[gnu::always_inline]] inline
#elif defined(_MSC_VER)
#define RETEMPER_VM __forceinline
#else
#define RETEMPER_VM inline
#endif

namespace retemper::numerics::vm {

namespace detail {

namespace cf = coefficient;

inline constexpr double infinity = std::numeric_limits<double>::infinity();
inline constexpr double nan = std::numeric_limits<double>::quiet_NaN();
/// Added to a double below 2^51 in size, leaves its nearest integer in the low bits of the sum.
inline constexpr double rounder = 6755399441055744.0;  // 1.5 * 2^52

RETEMPER_VM std::uint64_t bits(double x) {
  std::uint64_t u;
  std::memcpy(&u, &x, sizeof u);
  return u;
}

RETEMPER_VM double from_bits(std::uint64_t u) {
  double x;
  std::memcpy(&x, &u, sizeof x);
  return x;
}

/// a b + c, rounded once where the processor has the instruction.
RETEMPER_VM double mul_add(double a, double b, double c) {
#if defined(__FP_FAST_FMA) || defined(__FMA__) || defined(__ARM_FEATURE_FMA)
  return std::fma(a, b, c);
#else
  return a * b + c;
#endif
}

/// C[I] + C[I + Step] y + C[I + 2 Step] y^2 + ...
template <const auto& C, std::size_t Step, std::size_t I>
RETEMPER_VM double horner(double y) {
  if constexpr (I + Step < std::size(C)) {
    return mul_add(horner<C, Step, I + Step>(y), y, C[I]);
  } else {
    return C[I];
  }
}

/// C[0] + C[1] x + ..., unrolled by templates: a loop here would keep the outer one scalar.
/// Interleaved chains, two or four by length, since one chain would wait for itself.
template <const auto& C>
RETEMPER_VM double polynomial(double x) {
  const double x2 = x * x;
  if constexpr (std::size(C) > 16) {
    const double x4 = x2 * x2;
    return mul_add(mul_add(horner<C, 4, 3>(x4), x, horner<C, 4, 2>(x4)), x2,
                   mul_add(horner<C, 4, 1>(x4), x, horner<C, 4, 0>(x4)));
  } else {
    return mul_add(horner<C, 2, 1>(x2), x, horner<C, 2, 0>(x2));
  }
}

/// 2^k for an integer k in [-1022, 1023].
RETEMPER_VM double power_of_two(double k) {
  return from_bits(bits(k + (rounder + 1023.0)) << 52U);
}

/// A positive number mantissa * scale that may itself be too small or too large for a double.
struct Wide {
  double mantissa, scale;

  /// factor times the number, rounded once where the product is denormal.
  RETEMPER_VM double times(double factor) const { return mantissa * factor * scale; }
};

/// e^(high + low) for |high| < 1400, |low| < 1.
RETEMPER_VM Wide exp_wide(double high, double low) {
  const double k = mul_add(high, cf::log2_e, rounder) - rounder;
  const double r =
      mul_add(k, -cf::log_2_low, mul_add(k, -cf::log_2_high, high)) + low;  // high part exact
  const double mantissa = 1.0 + mul_add(r * r, polynomial<cf::exp_tail>(r), r);
  const double half_k = mul_add(k, 0.5, rounder) - rounder;
  return {mantissa * power_of_two(half_k), power_of_two(k - half_k)};
}

/// e^(x^2 scale), scale a power of two with a sign; beyond |x| = most, as at `most`.
/// A rounded x^2 would lose x^2 units: it is split into an exact head and a small rest.
RETEMPER_VM Wide exp_square(double x, double most, double scale) {
  x = std::fabs(x) > most ? most : x;
  const double head = from_bits(bits(x) & ~((std::uint64_t{1} << 27U) - 1));  // 26 bits
  return exp_wide(head * head * scale, (x - head) * (x + head) * scale);
}

RETEMPER_VM Wide exp_minus_half_square(double x) {
  return exp_square(x, 52.0, -0.5);
}

/// x = 2^k (1 + f) with sqrt(1/2) <= 1 + f < sqrt(2).
struct Decomposed {
  double k, f;
};

/// For normal x > 0.
RETEMPER_VM Decomposed decompose_normal(double x) {
  const std::uint64_t offset = (std::uint64_t{1023} << 52U) - bits(cf::sqrt_half);
  const std::uint64_t moved = bits(x) + offset;
  // the exponent becomes a double through the mantissa of 2^52: no 64-bit conversion needed
  const double k = from_bits((moved >> 52U) | bits(0x1p52)) - (0x1p52 + 1023.0);
  const std::uint64_t mantissa = (moved & ((std::uint64_t{1} << 52U) - 1)) + bits(cf::sqrt_half);
  return {k, from_bits(mantissa) - 1.0};
}

/// For finite x > 0, denormal ones included.
RETEMPER_VM Decomposed decompose(double x) {
  const double shift = x < std::numeric_limits<double>::min() ? 54.0 : 0.0;
  Decomposed d = decompose_normal(x * power_of_two(shift));
  d.k -= shift;
  return d;
}

/// k log 2 + log(1 + f).
RETEMPER_VM double log_of(Decomposed x) {
  const double s = x.f / (2.0 + x.f);
  const double z = s * s;
  const double half_square = 0.5 * x.f * x.f;
  const double tail = mul_add(z, polynomial<cf::log_tail>(z), half_square);
  const double rest = half_square - mul_add(s, tail, x.k * cf::log_2_low);
  return mul_add(x.k, cf::log_2_high, x.f - rest);
}

/// (1 + 2 x) erfcx(x) for x >= 0, given t = (x - c) / (x + c) and t + 1, which is exact to its
/// own last place and so keeps small x right.
RETEMPER_VM double erfcx_ratio(double t, double t_plus_one) {
  return mul_add(t_plus_one, polynomial<cf::erfcx_rise>(t), 1.0);
}

/// factor * erfcx(x) for x = scaled / scale >= 0; scaled^2 must not overflow.
RETEMPER_VM double erfcx_times(double scaled, double scale, double factor) {
  const double below = mul_add(cf::erfcx_centre, scale, scaled);
  const double line = mul_add(2.0, scaled, scale);
  const double inverse = 1.0 / (below * line);  // one division for both
  const double one_over_below = line * inverse;
  const double ratio = erfcx_ratio(mul_add(-cf::erfcx_centre, scale, scaled) * one_over_below,
                                   2.0 * scaled * one_over_below);
  return ratio * (below * inverse * factor);
}

/// The smaller of |x| and `most`, which carries no NaN on: for factors of what does.
RETEMPER_VM double size_below(double x, double most) {
  const double size = std::fabs(x);
  return size < most ? size : most;
}

}  // namespace detail

/// e^x.
RETEMPER_VM double exp(double x) {
  x = x > 800.0 ? 800.0 : x;
  x = x < -800.0 ? -800.0 : x;
  return detail::exp_wide(x, 0.0).times(1.0);
}

/// Natural logarithm; -inf at zero, NaN below.
RETEMPER_VM double log(double x) {
  const double inside = detail::log_of(detail::decompose(x));
  const double outside = x == 0.0 ? -detail::infinity : (x > 0.0 ? x : detail::nan);
  return x > 0.0 && x < detail::infinity ? inside : outside;
}

/// Scaled complementary error function e^(x^2) erfc(x).
RETEMPER_VM double erfcx(double x) {
  const detail::Wide square = detail::exp_square(x, 37.0, 1.0);
  const double size = std::fabs(x);
  const double scale = size > 0x1p400 ? 0x1p-600 : 1.0;
  const double finite = detail::erfcx_times(size * scale, scale, scale);
  const double right = size == detail::infinity ? 0.0 : finite;
  return x < 0.0 ? square.times(2.0) - right : right;
}

/// Complementary error function (2 / sqrt(pi)) int_x^inf e^(-t^2) dt.
RETEMPER_VM double erfc(double x) {
  const detail::Wide square = detail::exp_square(x, 37.0, -1.0);  // first: work while erfcx waits
  const double right = square.times(detail::erfcx_times(detail::size_below(x, 0x1p500), 1.0, 1.0));
  return x < 0.0 ? 2.0 - right : right;
}

/// erf(x), right to a few units in the last place of one (not of itself), and e^(-x^2).
struct ErfGauss {
  double erf, gauss;
};

RETEMPER_VM ErfGauss erf_gauss(double x) {
  const detail::Wide square = detail::exp_square(x, 37.0, -1.0);
  const double gauss = square.times(1.0);
  const double tail = gauss * detail::erfcx_times(detail::size_below(x, 0x1p500), 1.0, 1.0);
  return {std::copysign(1.0 - tail, x), gauss};
}

/// Standard normal distribution function Phi(x).
RETEMPER_VM double ndtr(double x) {
  const detail::Wide gauss = detail::exp_minus_half_square(x);
  const double y = detail::size_below(x * coefficient::sqrt_half, 0x1p500);
  const double scaled = detail::erfcx_times(y, 1.0, 0.5);
  const double left = gauss.times(scaled);
  return x > 0.0 ? 1.0 - left : left;
}

/// Phi(x) = e^(-left^2 / 2) (value + lost) with left = min(x, 0).
struct ScaledNdtr {
  double value, lost;
};

RETEMPER_VM ScaledNdtr scaled_ndtr(double x) {
  const detail::Wide gauss = detail::exp_minus_half_square(x);
  const double y = detail::size_below(x * coefficient::sqrt_half, 0x1p500);
  const double scaled = detail::erfcx_times(y, 1.0, 0.5);
  const double tail = gauss.times(scaled);  // Phi(-|x|)
  const double value = x < 0.0 ? scaled : 1.0 - tail;
  return {value, x < 0.0 ? 0.0 : (1.0 - value) - tail};  // the rounding of 1 - tail; carries NaN
}

RETEMPER_VM double log_ndtr(double x, ScaledNdtr ndtr_of_x) {
  const double left = x < 0.0 ? x : 0.0;
  detail::Decomposed d = detail::decompose_normal(ndtr_of_x.value);
  d.f += ndtr_of_x.lost;
  return detail::mul_add(-0.5 * left, left, detail::log_of(d));
}

/// log Phi(x).
RETEMPER_VM double log_ndtr(double x) {
  return log_ndtr(x, scaled_ndtr(x));
}

/// Hazard of the normal law, phi(x) / Phi(x) = d log Phi / dx.
RETEMPER_VM double hazard(double x) {
  using namespace coefficient;
  const detail::Wide gauss = detail::exp_minus_half_square(x);
  const double y = std::fabs(x) * sqrt_half;
  const double one_over_below = 1.0 / (y + erfcx_centre);
  const double ratio =
      detail::erfcx_ratio((y - erfcx_centre) * one_over_below, 2.0 * y * one_over_below);
  const double line = detail::mul_add(2.0, y, 1.0);  // erfcx(y) = ratio / line
  const bool is_left = x < 0.0;
  const double above = is_left ? sqrt_2_over_pi : gauss.times(one_over_sqrt_2pi);
  const double under = is_left ? ratio : detail::mul_add(-gauss.times(0.5), ratio, line);
  const double inside = above * line / under;
  // from here on both sides equal their limit: |x| and zero
  return x < -0x1p60 ? -x : (x > 64.0 ? 0.0 : inside);
}

/// What the hazard has above its asymptote, phi(t) / Phi(-t) - t, for t >= 0, to its own last
/// places also where it is a small part of t.
RETEMPER_VM double hazard_excess(double t) {
  using namespace coefficient;
  const double below = t + excess_centre;
  const double line = t + 1.0;
  const double inverse = 1.0 / (below * line);
  return detail::polynomial<coefficient::hazard_excess>((t - excess_centre) * line * inverse) *
         (below * inverse);
}

/// asin(x); NaN outside [-1, 1].
RETEMPER_VM double asin(double x) {
  using namespace coefficient;
  const double size = std::fabs(x);
  const bool is_near_one = size > 0.5;
  const double z = is_near_one ? 0.5 * (1.0 - size) : size * size;
  const double s = is_near_one ? std::sqrt(z) : size;
  const double angle = detail::mul_add(s * z, detail::polynomial<asin_tail>(z), s);
  const double value =
      is_near_one ? half_pi_high - detail::mul_add(2.0, angle, -half_pi_low) : angle;
  return std::copysign(value, x);
}

/// acos(x); NaN outside [-1, 1].
RETEMPER_VM double acos(double x) {
  using namespace coefficient;
  const double size = std::fabs(x);
  const bool is_near_one = size > 0.5;
  const double z = is_near_one ? 0.5 * (1.0 - size) : x * x;
  const double s = is_near_one ? std::sqrt(z) : x;
  const double angle = detail::mul_add(s * z, detail::polynomial<asin_tail>(z), s);
  const double left = 2.0 * half_pi_high - detail::mul_add(2.0, angle, -2.0 * half_pi_low);
  const double middle = half_pi_high - (angle - half_pi_low);
  return is_near_one ? (x < 0.0 ? left : 2.0 * angle) : middle;
}

/// asin(x) and acos(x) where |x| <= 1/2: the same bits without a root. For loops that know their
/// largest |x|.
RETEMPER_VM double asin_inside(double x) {
  const double z = x * x;
  return detail::mul_add(x * z, detail::polynomial<coefficient::asin_tail>(z), x);
}

RETEMPER_VM double acos_inside(double x) {
  return coefficient::half_pi_high - (asin_inside(x) - coefficient::half_pi_low);
}

/// t acos(-t) + sqrt(1 - t^2) - 1 + constant where |t| <= 1/2: the same bits as below.
RETEMPER_VM double ramp_inside(double t, double constant) {
  using namespace coefficient;
  const double z = t * t;
  const double even = z * detail::polynomial<ramp_even>(z);
  return constant + detail::mul_add(half_pi_high, t, even);
}

/// t acos(-t) + sqrt(1 - t^2) - 1 + constant for |t| <= 1: pi E[u+ v+] of a pair of standard
/// normals of correlation t, where `constant` is one, to its own last places also near t = -1.
RETEMPER_VM double ramp(double t, double constant) {
  using namespace coefficient;
  const double size = std::fabs(t);
  const double z = 0.5 * (1.0 - size);
  const double below = std::sqrt(z) * z * detail::polynomial<ramp_below>(z);  // of -|t|
  const double line = 2.0 * half_pi_high * (t > 0.0 ? t : 0.0);
  const double outside = below + (line - (1.0 - constant));
  return size > 0.5 ? outside : ramp_inside(t, constant);
}

/// Inverse of ndtr: x with Phi(x) = p. -inf at 0, inf at 1, NaN outside [0, 1].
RETEMPER_VM double ndtri(double p) {
  using namespace coefficient;
  const double q = p - 0.5;
  const double smaller = q > 0.0 ? 1.0 - p : p;  // exact above one half
  const double s = std::sqrt(-2.0 * detail::log_of(detail::decompose(smaller)));
  const double t = (s - ndtri_centre) / (s + ndtri_centre);
  const double z = detail::mul_add(-q, q, ndtri_switch * ndtri_switch);
  const double centre =
      q * detail::polynomial<ndtri_centre_above>(z) / detail::polynomial<ndtri_centre_below>(z);
  const double tail = std::copysign(s, q) * detail::polynomial<ndtri_tail>(t);
  const double edge = p == 0.0 ? -detail::infinity : (p == 1.0 ? detail::infinity : detail::nan);
  const double inside = std::fabs(q) <= ndtri_switch ? centre : tail;
  return p > 0.0 && p < 1.0 ? inside : edge;
}

}  // namespace retemper::numerics::vm

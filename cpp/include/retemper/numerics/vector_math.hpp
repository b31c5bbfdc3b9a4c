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

template <const auto& C, std::size_t I>
RETEMPER_VM double horner(double x) {
  if constexpr (I + 1 < std::size(C)) {
    return mul_add(horner<C, I + 1>(x), x, C[I]);
  } else {
    return C[I];
  }
}

template <const auto& C, std::size_t I>
RETEMPER_VM double every_second(double x2) {
  if constexpr (I + 2 < std::size(C)) {
    return mul_add(every_second<C, I + 2>(x2), x2, C[I]);
  } else {
    return C[I];
  }
}

/// C[0] + C[1] x + ..., unrolled by templates: a loop here would keep the outer one scalar.
/// Long polynomials run as two chains, the even and the odd powers.
template <const auto& C>
RETEMPER_VM double polynomial(double x) {
  if constexpr (std::size(C) > 10) {
    const double x2 = x * x;
    return mul_add(every_second<C, 1>(x2), x, every_second<C, 0>(x2));
  } else {
    return horner<C, 0>(x);
  }
}

/// 2^k for an integer k in [-1022, 1023].
RETEMPER_VM double power_of_two(double k) { return from_bits(bits(k + (rounder + 1023.0)) << 52); }

/// factor * e^(high + low) for |low| < 1, also where the result is denormal or overflows.
RETEMPER_VM double exp_times(double high, double low, double factor) {
  high = high > 1400.0 ? 1400.0 : high;
  high = high < -1400.0 ? -1400.0 : high;
  const double k = mul_add(high, cf::log2_e, rounder) - rounder;
  const double r =
      mul_add(k, -cf::log_2_low, mul_add(k, -cf::log_2_high, high)) + low;  // high part exact
  const double mantissa = 1.0 + mul_add(r * r, polynomial<cf::exp_tail>(r), r);
  // two factors, so that a denormal result is rounded once, at the end
  const double half_k = mul_add(k, 0.5, rounder) - rounder;
  return mantissa * factor * power_of_two(half_k) * power_of_two(k - half_k);
}

/// factor * e^(x^2 scale), scale a power of two with a sign. A rounded x^2 would lose x^2 units.
RETEMPER_VM double exp_square_times(double x, double scale, double factor) {
  x = std::fabs(x) > 64.0 ? 64.0 : x;
  const double head = from_bits(bits(x) & ~((std::uint64_t{1} << 27) - 1));  // 26 bits: square exact
  return exp_times(head * head * scale, (x - head) * (x + head) * scale, factor);
}

/// x = 2^k (1 + f) with sqrt(1/2) <= 1 + f < sqrt(2), for finite x > 0.
struct Decomposed {
  double k, f;
};

RETEMPER_VM Decomposed decompose(double x) {
  const bool is_small = x < std::numeric_limits<double>::min();
  const double scaled = is_small ? x * 0x1p54 : x;
  const std::uint64_t one = std::uint64_t{1023} << 52;
  const std::uint64_t offset = one - bits(cf::sqrt_half);
  const std::uint64_t moved = bits(scaled) + offset;
  // the exponent becomes a double through the mantissa of 2^52: no 64-bit conversion needed
  const double biased = from_bits((moved >> 52) | bits(0x1p52)) - 0x1p52;
  const std::uint64_t mantissa = (moved & ((std::uint64_t{1} << 52) - 1)) + bits(cf::sqrt_half);
  return {biased - (is_small ? 1023.0 + 54.0 : 1023.0), from_bits(mantissa) - 1.0};
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

/// (1 + 2 x) erfcx(x) for x >= 0 as a function of u = 2 x / (x + c) in [0, 2].
RETEMPER_VM double erfcx_ratio(double u) {
  return mul_add(u, polynomial<cf::erfcx_rise>(u - 1.0), 1.0);
}

/// erfcx(x) for x >= 0, infinity included.
RETEMPER_VM double erfcx_positive(double x) {
  const bool is_huge = x > 0x1p60;  // there 1 / (sqrt(pi) x)
  const double below = x + cf::erfcx_centre;
  const double line = mul_add(2.0, x, 1.0);
  const double inverse = 1.0 / (is_huge ? x : below * line);  // one division for u and the ratio
  const double u = 2.0 * x * (line * inverse);
  return inverse * (is_huge ? cf::one_over_sqrt_pi : erfcx_ratio(u) * below);
}

}  // namespace detail

/// e^x.
RETEMPER_VM double exp(double x) { return detail::exp_times(x, 0.0, 1.0); }

/// Natural logarithm; -inf at zero, NaN below.
RETEMPER_VM double log(double x) {
  const double inside = detail::log_of(detail::decompose(x));
  const double outside = x == 0.0 ? -detail::infinity : (x > 0.0 ? x : detail::nan);
  return x > 0.0 && x < detail::infinity ? inside : outside;
}

/// Scaled complementary error function e^(x^2) erfc(x).
RETEMPER_VM double erfcx(double x) {
  const double right = detail::erfcx_positive(std::fabs(x));
  const double left = detail::exp_square_times(x, 1.0, 2.0) - right;
  return x < 0.0 ? left : right;
}

/// Complementary error function (2 / sqrt(pi)) int_x^inf e^(-t^2) dt.
RETEMPER_VM double erfc(double x) {
  const double right =
      detail::exp_square_times(x, -1.0, detail::erfcx_positive(std::fabs(x)));
  return x < 0.0 ? 2.0 - right : right;
}

/// Standard normal distribution function Phi(x).
RETEMPER_VM double ndtr(double x) {
  const double scaled = 0.5 * detail::erfcx_positive(std::fabs(x) * coefficient::sqrt_half);
  const double left = detail::exp_square_times(x, -0.5, scaled);
  return x > 0.0 ? 1.0 - left : left;
}

/// log Phi(x).
RETEMPER_VM double log_ndtr(double x) {
  const double scaled = 0.5 * detail::erfcx_positive(std::fabs(x) * coefficient::sqrt_half);
  const double tail = detail::exp_square_times(x, -0.5, scaled);  // Phi(-|x|)
  const bool is_left = x < 0.0;
  detail::Decomposed z = detail::decompose(is_left ? scaled : 1.0 - tail);
  z.f = !is_left && z.k == 0.0 ? -tail : z.f;  // log(1 - tail) without the rounding of 1 - tail
  const double log_z = detail::log_of(z);
  const double inside = is_left ? detail::mul_add(-0.5 * x, x, log_z) : log_z;
  return x == x ? inside : x;
}

/// Hazard of the normal law, phi(x) / Phi(x) = d log Phi / dx.
RETEMPER_VM double hazard(double x) {
  using namespace coefficient;
  const double y = std::fabs(x) * sqrt_half;
  const double ratio = detail::erfcx_ratio(2.0 * y / (y + erfcx_centre));
  const double line = detail::mul_add(2.0, y, 1.0);  // erfcx(y) = ratio / line
  const double gauss = detail::exp_square_times(x, -0.5, one_over_sqrt_2pi);
  const double weight = detail::exp_square_times(x, -0.5, 0.5);
  const bool is_left = x < 0.0;
  const double inside = (is_left ? sqrt_2_over_pi * line : gauss * line) /
                        (is_left ? ratio : detail::mul_add(-weight, ratio, line));
  // from here on both sides equal their limit: |x| and zero
  return x < -0x1p60 ? -x : (x > 64.0 ? 0.0 : inside);
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

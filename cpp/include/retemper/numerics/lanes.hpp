// A register of doubles, for loops of which the compiler by itself makes less than can be had.
#pragma once

#if defined(__GNUC__) && defined(__AVX__)
#include <immintrin.h>
#endif

#include <cstring>

#include "retemper/core/types.hpp"

namespace retemper::numerics::lanes {

#if defined(__GNUC__)
#if defined(__AVX512F__)
inline constexpr Index size = 8;
#elif defined(__AVX__)
inline constexpr Index size = 4;
#else
inline constexpr Index size = 2;
#endif
#define RETEMPER_LANES [[gnu::always_inline]] inline
using Wide [[gnu::vector_size(8 * size)]] = double;
#else
inline constexpr Index size = 1;
#define RETEMPER_LANES inline
using Wide = double;
#endif

/// `size` entries from `from` on, at any address.
RETEMPER_LANES Wide load(const double* from) {
  Wide out;
  std::memcpy(&out, from, sizeof out);
  return out;
}

RETEMPER_LANES Wide load(const float* from) {
#if defined(__GNUC__) && \
    defined(__AVX512F__)  // what compilers make of a conversion of lanes goes by halves
  return _mm512_cvtps_pd(_mm256_loadu_ps(from));
#elif defined(__GNUC__) && defined(__AVX__)
  return _mm256_cvtps_pd(_mm_loadu_ps(from));
#else
  double entries[size];
  for (Index i = 0; i < size; ++i) entries[i] = static_cast<double>(from[i]);
  return load(entries);
#endif
}

RETEMPER_LANES void store(Wide from, double* to) {
  std::memcpy(to, &from, sizeof from);
}

RETEMPER_LANES double sum(Wide x) {
  double entries[size], out = 0.0;
  std::memcpy(entries, &x, sizeof x);
  for (const double entry : entries) out += entry;
  return out;
}

#undef RETEMPER_LANES

}  // namespace retemper::numerics::lanes

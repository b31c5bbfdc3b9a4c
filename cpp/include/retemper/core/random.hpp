// Counter-based random numbers: every variate has an address, so neither order nor threads matter.
#pragma once

#include <array>
#include <cstdint>
#include <cstring>

#include "retemper/core/types.hpp"

namespace retemper {

using PhiloxKey = std::array<std::uint64_t, 2>;
using PhiloxBlock = std::array<std::uint64_t, 4>;

/// Philox4x64-10 (Salmon, Moraes, Dror and Shaw 2011): four words, a pure function of
/// (key, counter). Equals numpy.random.Philox(key=key, counter=counter - 1).random_raw(4).
PhiloxBlock philox4x64(const PhiloxBlock& counter, const PhiloxKey& key);

/// A run of words at the address (block, sweep, replica, purpose); word w lies in block w / 4.
class Stream {
 public:
  Stream(const PhiloxKey& key, std::uint64_t purpose, std::uint64_t replica = 0,
         std::uint64_t sweep = 0)
      : key_(key), tail_{sweep, replica, purpose} {}

  /// Fills out[0..n) with the words [first, first + n) of this run.
  void words(std::uint64_t first, Index n, std::uint64_t* out) const;

  /// Uniform numbers in [0, 1) with 53 bits, word by word.
  void uniform(std::uint64_t first, Index n, double* out) const;

 private:
  PhiloxKey key_;
  std::array<std::uint64_t, 3> tail_;
};

/// 53-bit uniform in [0, 1), as numpy makes it.
inline double unit_uniform(std::uint64_t word) {
  return static_cast<double>(word >> 11) * 0x1.0p-53;
}

/// Uniform in the open interval (0, 1), symmetric about 1/2: the argument of an inverse
/// cumulative distribution. (word / 2^12 + 1/2) / 2^52, by way of the bits of a double in [1, 2):
/// a loop over it needs no conversion of 64-bit integers, which AVX2 lacks.
inline double open_uniform(std::uint64_t word) {
  const std::uint64_t bits = (word >> 12) | 0x3FF0000000000000ULL;
  double in_1_2;
  std::memcpy(&in_1_2, &bits, sizeof bits);
  return in_1_2 - (1.0 - 0x1p-53);
}

}  // namespace retemper

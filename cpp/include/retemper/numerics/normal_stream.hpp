// Normal variates with an address.
#pragma once

#include "retemper/core/random.hpp"

namespace retemper::numerics {

/// Fills out[0..n) with standard normal variates, one for each word [first, first + n) of the
/// stream: the inverse distribution function of open_uniform(word). Bounded by 8.21 in size.
void fill_normal(const Stream& stream, std::uint64_t first, Index n, double* out);

}  // namespace retemper::numerics

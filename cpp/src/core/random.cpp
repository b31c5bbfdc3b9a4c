#include "retemper/core/random.hpp"

#include <algorithm>

#if defined(_MSC_VER)
#include <intrin.h>
#endif

namespace retemper {

namespace {

constexpr std::uint64_t multiplier_0 = 0xD2E7470EE14C6C93ULL;
constexpr std::uint64_t multiplier_1 = 0xCA5A826395121157ULL;
constexpr std::uint64_t weyl_0 = 0x9E3779B97F4A7C15ULL;
constexpr std::uint64_t weyl_1 = 0xBB67AE8584CAA73BULL;

struct Product {
  std::uint64_t high, low;
};

inline Product multiply(std::uint64_t a, std::uint64_t b) {
#if defined(_MSC_VER)
  Product p;
  p.low = _umul128(a, b, &p.high);
  return p;
#else
  __extension__ using Wide = unsigned __int128;
  const Wide p = static_cast<Wide>(a) * b;
  return {static_cast<std::uint64_t>(p >> 64), static_cast<std::uint64_t>(p)};
#endif
}

}  // namespace

PhiloxBlock philox4x64(const PhiloxBlock& counter, const PhiloxKey& key) {
  PhiloxBlock c = counter;
  PhiloxKey k = key;
  for (int round = 0; round < 10; ++round) {
    const Product p0 = multiply(multiplier_0, c[0]);
    const Product p1 = multiply(multiplier_1, c[2]);
    c = {p1.high ^ c[1] ^ k[0], p1.low, p0.high ^ c[3] ^ k[1], p0.low};
    k[0] += weyl_0;
    k[1] += weyl_1;
  }
  return c;
}

void Stream::words(std::uint64_t first, Index n, std::uint64_t* out) const {
  const auto block = [&](std::uint64_t at) {
    return philox4x64({at / 4, tail_[0], tail_[1], tail_[2]}, key_);
  };
  Index done = 0;
  if (first % 4 != 0 && n > 0) {  // the rest of a block
    const PhiloxBlock head = block(first);
    const auto offset = static_cast<Index>(first % 4);
    done = std::min<Index>(4 - offset, n);
    std::copy_n(head.begin() + offset, done, out);
  }
  for (; n - done >= 4; done += 4) {
    const PhiloxBlock whole = block(first + static_cast<std::uint64_t>(done));
    std::copy(whole.begin(), whole.end(), out + done);
  }
  if (done < n) {
    const PhiloxBlock rest = block(first + static_cast<std::uint64_t>(done));
    std::copy_n(rest.begin(), n - done, out + done);
  }
}

void Stream::uniform(std::uint64_t first, Index n, double* out) const {
  std::array<std::uint64_t, 256> buffer;
  for (Index done = 0; done < n;) {
    const Index take = std::min<Index>(256, n - done);
    words(first + static_cast<std::uint64_t>(done), take, buffer.data());
    std::transform(buffer.begin(), buffer.begin() + take, out + done, unit_uniform);
    done += take;
  }
}

}  // namespace retemper

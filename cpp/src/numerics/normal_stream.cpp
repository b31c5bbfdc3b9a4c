#include "retemper/numerics/normal_stream.hpp"

#include <algorithm>

#include "retemper/numerics/vector_math.hpp"

namespace retemper::numerics {

void fill_normal(const Stream& stream, std::uint64_t first, Index n, double* out) {
  constexpr Index block = 256;
  std::array<std::uint64_t, block> word{};
  for (Index done = 0; done < n; done += block) {
    const Index take = std::min(block, n - done);
    stream.words(first + static_cast<std::uint64_t>(done), take, word.data());
    const std::uint64_t* in = word.data();
    double* to = out + done;
#pragma omp simd
    for (Index i = 0; i < take; ++i) to[i] = vm::ndtri(open_uniform(in[i]));
  }
}

}  // namespace retemper::numerics

// Streams: known answers, and slices that stand alone, at every offset.
#include <vector>

#include "check.hpp"
#include "retemper/core/random.hpp"
#include "retemper/numerics/normal_stream.hpp"

using namespace retemper;

namespace {

const PhiloxKey key{0x0123456789ABCDEFULL, 0xFEDCBA9876543210ULL};

void known_answers() {
  // np.random.Philox(key=0, counter=2**256 - 1).random_raw(4)
  const PhiloxBlock zero{0x16554D9ECA36314CULL, 0xDB20FE9D672D0FDCULL, 0xD7E772CEE186176BULL,
                         0x7E68B68AEC7BA23BULL};
  CHECK(philox4x64({0, 0, 0, 0}, {0, 0}) == zero);
}

void slices_stand_alone() {
  const Stream stream(key, 3, 2, 1);
  constexpr Index n = 600;
  std::vector<std::uint64_t> words(n);
  std::vector<double> uniform(n), normal(n);
  stream.words(0, n, words.data());
  stream.uniform(0, n, uniform.data());
  numerics::fill_normal(stream, 0, n, normal.data());
  for (Index first : {0, 1, 2, 3, 4, 5, 255, 256, 257, 599}) {
    for (Index length : {0, 1, 2, 3, 4, 5, 9, 256, 300}) {
      if (first + length > n) continue;
      const auto size = static_cast<std::size_t>(length);  // exact: a write beyond is seen
      std::vector<std::uint64_t> w(size);
      std::vector<double> u(size), z(size);
      const auto at = static_cast<std::uint64_t>(first);
      stream.words(at, length, w.data());
      stream.uniform(at, length, u.data());
      numerics::fill_normal(stream, at, length, z.data());
      CHECK(std::equal(w.begin(), w.end(), words.begin() + first));
      CHECK(std::equal(u.begin(), u.end(), uniform.begin() + first));
      CHECK(std::equal(z.begin(), z.end(), normal.begin() + first));
    }
  }
}

void blocks_follow_the_counter() {
  const Stream stream(key, 3, 2, 1);
  std::array<std::uint64_t, 4> word{};
  stream.words(std::uint64_t{4} * 77, 4, word.data());
  CHECK(word == philox4x64({77, 1, 2, 3}, key));
}

void uniforms_stay_inside() {
  const std::uint64_t last = ~std::uint64_t{0};
  CHECK(unit_uniform(0) == 0.0 && unit_uniform(last) < 1.0);
  CHECK(open_uniform(0) > 0.0 && open_uniform(last) < 1.0);
  CHECK(open_uniform(0) + open_uniform(last) == 1.0);
  for (std::uint64_t word = 1; word != 0; word *= 6364136223846793006ULL)
    CHECK(open_uniform(word) == (static_cast<double>(word >> 12) + 0.5) * 0x1p-52);
}

}  // namespace

int main() {
  known_answers();
  slices_stand_alone();
  blocks_follow_the_counter();
  uniforms_stay_inside();
  return tests::n_failed;
}

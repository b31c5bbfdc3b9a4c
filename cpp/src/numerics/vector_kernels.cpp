#include "retemper/numerics/vector_kernels.hpp"

#include <algorithm>

#include "retemper/core/parallel.hpp"
#include "retemper/numerics/vector_math.hpp"

#if defined(__clang__)
#define RETEMPER_ONE_COPY [[clang::noinline]]
#elif defined(__GNUC__)
#define RETEMPER_ONE_COPY [[gnu::noinline, gnu::noclone]]
#else
#define RETEMPER_ONE_COPY
#endif

namespace retemper::numerics::elementwise {

namespace {

constexpr Index lanes = 16;     // a multiple of every register's width
constexpr Index block = 2048;   // elements handed to a thread at a time
constexpr Index grain = 32768;  // elements that pay for one more thread

/// A loop gets n, a multiple of `lanes`, so that its wide part leaves no rest for a narrow one;
/// one copy of it serves every caller.
template <class Function>
RETEMPER_ONE_COPY void each(const double* in, double* out, Index n, Function f) {
#pragma omp simd
  for (Index i = 0; i < n; ++i) out[i] = f(in[i]);
}

/// Two short loops instead of one: the processor then sees more independent elements at a time.
RETEMPER_ONE_COPY void each_log_ndtr(const double* in, double* out, Index n) {
  alignas(64) double value[256];
  alignas(64) double lost[256];
  for (Index first = 0; first < n; first += 256) {
    const Index length = std::min<Index>(256, n - first);
    const double* x = in + first;
#pragma omp simd
    for (Index i = 0; i < length; ++i) {
      const vm::ScaledNdtr y = vm::scaled_ndtr(x[i]);
      value[i] = y.value;
      lost[i] = y.lost;
    }
    double* y = out + first;
#pragma omp simd
    for (Index i = 0; i < length; ++i) y[i] = vm::log_ndtr(x[i], {value[i], lost[i]});
  }
}

template <class Loop>
Vector by_blocks(const ConstVectorView& x, int n_threads, Loop loop) {
  const Index n = x.size();
  Vector out(n);
  parallel_for((n + block - 1) / block, threads_for(n, grain, n_threads), [&](Index b) {
    const double* from = x.data() + b * block;
    double* to = out.data() + b * block;
    const Index length = std::min(block, n - b * block);
    const Index whole = length / lanes * lanes;
    loop(from, to, whole);
    if (whole == length) return;
    alignas(64) double rest[lanes] = {};  // the last few take the same path, padded
    alignas(64) double value[lanes];
    std::copy(from + whole, from + length, rest);
    loop(rest, value, lanes);
    std::copy_n(value, length - whole, to + whole);
  });
  return out;
}

template <class Function>
Vector apply(const ConstVectorView& x, int n_threads, Function f) {
  return by_blocks(x, n_threads,
                   [f](const double* in, double* out, Index n) { each(in, out, n, f); });
}

}  // namespace

Vector exp(const ConstVectorView& x, int n_threads) {
  return apply(x, n_threads, [](double v) { return vm::exp(v); });
}
Vector log(const ConstVectorView& x, int n_threads) {
  return apply(x, n_threads, [](double v) { return vm::log(v); });
}
Vector erfc(const ConstVectorView& x, int n_threads) {
  return apply(x, n_threads, [](double v) { return vm::erfc(v); });
}
Vector erfcx(const ConstVectorView& x, int n_threads) {
  return apply(x, n_threads, [](double v) { return vm::erfcx(v); });
}
Vector ndtr(const ConstVectorView& x, int n_threads) {
  return apply(x, n_threads, [](double v) { return vm::ndtr(v); });
}
Vector log_ndtr(const ConstVectorView& x, int n_threads) {
  return by_blocks(x, n_threads, each_log_ndtr);
}
Vector hazard(const ConstVectorView& x, int n_threads) {
  return apply(x, n_threads, [](double v) { return vm::hazard(v); });
}
Vector ndtri(const ConstVectorView& p, int n_threads) {
  return apply(p, n_threads, [](double v) { return vm::ndtri(v); });
}
Vector asin(const ConstVectorView& x, int n_threads) {
  return apply(x, n_threads, [](double v) { return vm::asin(v); });
}
Vector acos(const ConstVectorView& x, int n_threads) {
  return apply(x, n_threads, [](double v) { return vm::acos(v); });
}

}  // namespace retemper::numerics::elementwise

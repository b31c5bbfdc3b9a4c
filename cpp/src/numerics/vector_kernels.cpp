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

/// n is a multiple of `lanes`, so the wide loop leaves no rest for a narrow one. One copy of the
/// code for every caller.
template <class Function>
RETEMPER_ONE_COPY void run(const double* in, double* out, Index n, Function f) {
#pragma omp simd
  for (Index i = 0; i < n; ++i) out[i] = f(in[i]);
}

template <class Function>
Vector apply(const ConstVectorView& x, int n_threads, Function f) {
  const Index n = x.size();
  Vector out(n);
  parallel_for((n + block - 1) / block, threads_for(n, grain, n_threads), [&](Index b) {
    const double* from = x.data() + b * block;
    double* to = out.data() + b * block;
    const Index length = std::min(block, n - b * block);
    const Index whole = length / lanes * lanes;
    run(from, to, whole, f);
    if (whole == length) return;
    alignas(64) double rest[lanes] = {};  // the last few take the same path, padded
    alignas(64) double value[lanes];
    std::copy(from + whole, from + length, rest);
    run(rest, value, lanes, f);
    std::copy_n(value, length - whole, to + whole);
  });
  return out;
}

}  // namespace

Vector exp(ConstVectorView x, int n_threads) {
  return apply(x, n_threads, [](double v) { return vm::exp(v); });
}
Vector log(ConstVectorView x, int n_threads) {
  return apply(x, n_threads, [](double v) { return vm::log(v); });
}
Vector erfc(ConstVectorView x, int n_threads) {
  return apply(x, n_threads, [](double v) { return vm::erfc(v); });
}
Vector erfcx(ConstVectorView x, int n_threads) {
  return apply(x, n_threads, [](double v) { return vm::erfcx(v); });
}
Vector ndtr(ConstVectorView x, int n_threads) {
  return apply(x, n_threads, [](double v) { return vm::ndtr(v); });
}
Vector log_ndtr(ConstVectorView x, int n_threads) {
  return apply(x, n_threads, [](double v) { return vm::log_ndtr(v); });
}
Vector hazard(ConstVectorView x, int n_threads) {
  return apply(x, n_threads, [](double v) { return vm::hazard(v); });
}
Vector ndtri(ConstVectorView p, int n_threads) {
  return apply(p, n_threads, [](double v) { return vm::ndtri(v); });
}
Vector asin(ConstVectorView x, int n_threads) {
  return apply(x, n_threads, [](double v) { return vm::asin(v); });
}
Vector acos(ConstVectorView x, int n_threads) {
  return apply(x, n_threads, [](double v) { return vm::acos(v); });
}

}  // namespace retemper::numerics::elementwise

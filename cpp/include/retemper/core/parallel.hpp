// One level of parallelism whose results do not depend on the number of threads.
#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <exception>
#include <limits>
#include <thread>
#include <vector>

#include "retemper/core/control.hpp"
#include "retemper/core/types.hpp"

#if defined(_MSC_VER)
#define RETEMPER_NOINLINE __declspec(noinline)
#elif defined(__clang__)
#define RETEMPER_NOINLINE __attribute__((noinline))
#else
#define RETEMPER_NOINLINE __attribute__((noinline, noclone))
#endif

namespace retemper {

/// Threads worth opening for `items` independent items: at least `grain` items each.
inline int threads_for(Index items, Index grain, int n_threads) {
  const Index most = std::max<Index>(1, items / std::max<Index>(1, grain));
  return static_cast<int>(std::min<Index>(most, n_threads));
}

namespace detail {

/// Runs one item. Never inlined: the serial loop and the parallel region must run the same machine
/// code, since a copy of the body in each may contract products and sums differently.
template <class Body>
RETEMPER_NOINLINE void run_item(Body& body, Index i) {
  body(i);
}

/// Keeps the exception thrown at the smallest index.
class FirstError {
 public:
  void keep(Index i) noexcept {
#pragma omp critical(retemper_parallel_error)
    if (i < where_.load()) {
      where_.store(i);
      first_ = std::current_exception();
    }
  }
  /// Whether an error at a smaller index makes item i idle.
  bool is_before(Index i) const { return where_.load() < i; }
  void rethrow() const {
    if (first_) std::rethrow_exception(first_);
  }

 private:
  std::exception_ptr first_;
  std::atomic<Index> where_{std::numeric_limits<Index>::max()};
};

}  // namespace detail

/// Calls body(i) for i in [0, n). Each i owns its output, so the result does not depend on
/// n_threads. If bodies throw, the error of the smallest i is rethrown on the calling thread:
/// nothing may unwind through an OpenMP region.
template <class Body>
void parallel_for(Index n, int n_threads, Body&& body) {
  if (n_threads <= 1) {  // no region at all: safe in a forked child
    for (Index i = 0; i < n; ++i) detail::run_item(body, i);
    return;
  }
  detail::FirstError error;
#pragma omp parallel for schedule(static) num_threads(n_threads)
  for (Index i = 0; i < n; ++i) {
    try {
      detail::run_item(body, i);
    } catch (...) {
      error.keep(i);
    }
  }
  error.rethrow();
}

/// The same for few long items (replicas, seeds): items are handed out one by one, `control` is
/// polled between items by the calling thread, also while it waits for the others, and every
/// finished item advances it. Long bodies should call control.check() themselves. After an
/// error no later item is begun.
template <class Body>
void parallel_for(Index n, int n_threads, Control& control, Body&& body) {
  if (n_threads <= 1) {
    for (Index i = 0; i < n; ++i) {
      control.check();
      detail::run_item(body, i);
      control.advance();
    }
    return;
  }
  detail::FirstError error;
  std::atomic<Index> next{0};
  std::atomic<int> working{0};
#pragma omp parallel num_threads(n_threads)
  {
    working.fetch_add(1);
    for (Index i = next.fetch_add(1); i < n && !control.is_stopped() && !error.is_before(i);
         i = next.fetch_add(1)) {
      try {
        control.check();
        detail::run_item(body, i);
        control.advance();
      } catch (...) {
        error.keep(i);
      }
    }
    working.fetch_sub(1);
    while (control.is_owner() && !control.is_stopped() && working.load() > 0) {
      try {
        control.check();
      } catch (...) {
        error.keep(n);
      }
      std::this_thread::sleep_for(std::chrono::microseconds(200));
    }
  }
  if (control.is_stopped()) control.rethrow();
  error.rethrow();
}

/// Sum of term(i) over [0, n) in blocks of fixed size, partial sums added in block order: the
/// same bits for any number of threads.
template <class Term>
double ordered_sum(Index n, Index block, int n_threads, Term&& term) {
  const Index n_blocks = (n + block - 1) / block;
  std::vector<double> partial(static_cast<std::size_t>(n_blocks), 0.0);
  parallel_for(n_blocks, n_threads, [&](Index b) {
    double sum = 0.0;
    for (Index i = b * block, end = std::min(n, i + block); i < end; ++i) sum += term(i);
    partial[static_cast<std::size_t>(b)] = sum;
  });
  double total = 0.0;
  for (double p : partial) total += p;
  return total;
}

}  // namespace retemper

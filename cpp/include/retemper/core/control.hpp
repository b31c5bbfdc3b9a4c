// Limits of an iteration, and the one way in which the outside world stops or watches it.
#pragma once

#include <atomic>
#include <chrono>
#include <exception>
#include <functional>
#include <thread>
#include <utility>

#include "retemper/core/error.hpp"
#include "retemper/core/types.hpp"

namespace retemper {

struct IterationLimits {
  Index max_iter = 1000;
  double tol = 1e-10;
  double damping = 0.0;  // new = (1 - damping) * update + damping * old, in [0, 1)
};

/// Progress and stop check of one call. Any thread may call check() and advance(); the hook runs
/// on the thread that made the Control only, at most every 50 ms, and stops the work by throwing.
class Control {
 public:
  using Hook = std::function<void(Index done, Index total)>;

  explicit Control(Hook hook = {}, Index total = 0) : hook_(std::move(hook)), total_(total) {}
  Control(const Control&) = delete;
  Control& operator=(const Control&) = delete;

  /// Says how much work there is in all (for progress only).
  void set_total(Index total) { total_ = total; }

  /// Counts finished work. Cheap; any thread.
  void advance(Index by = 1) { done_.fetch_add(by, std::memory_order_relaxed); }

  /// Throws if the work must stop. A clock read on the owning thread, a load elsewhere.
  void check() {
    if (stopped_.load(std::memory_order_acquire)) throw Interrupted();
    if (!hook_ || std::this_thread::get_id() != owner_) return;
    const auto now = Clock::now();
    if (now - last_ < std::chrono::milliseconds(50)) return;
    last_ = now;
    try {
      hook_(done_.load(std::memory_order_relaxed), total_);
    } catch (...) {
      cause_ = std::current_exception();
      stopped_.store(true, std::memory_order_release);
      throw;
    }
  }

  bool is_stopped() const { return stopped_.load(std::memory_order_acquire); }
  bool is_owner() const { return std::this_thread::get_id() == owner_; }
  /// Rethrows what stopped the work, on the owning thread.
  void rethrow() const {
    if (cause_) std::rethrow_exception(cause_);
    throw Interrupted();
  }

 private:
  using Clock = std::chrono::steady_clock;
  Hook hook_;
  Index total_;
  std::atomic<Index> done_{0};
  std::atomic<bool> stopped_{false};
  std::exception_ptr cause_;
  std::thread::id owner_ = std::this_thread::get_id();
  Clock::time_point last_ = Clock::now();
};

}  // namespace retemper

// Loops over threads: every item once, the first error out, and the stop check.
#include <cmath>
#include <string>

#include "check.hpp"
#include "retemper/core/parallel.hpp"

using namespace retemper;
using tests::throws;

namespace {

std::string first_message(Index n, int n_threads, bool with_control) {
  const auto body = [](Index i) {
    if (i % 7 == 3) throw NumericalError(std::to_string(i));
  };
  try {
    if (with_control) {
      Control control;
      parallel_for(n, n_threads, control, body);
    } else {
      parallel_for(n, n_threads, body);
    }
  } catch (const NumericalError& e) {
    return e.what();
  }
  return "none";
}

void every_item_once() {
  for (int n_threads : {1, 2, 3, 7}) {
    for (Index n : {0, 1, 2, 100}) {
      std::vector<int> plain(static_cast<std::size_t>(n), 0), controlled = plain;
      parallel_for(n, n_threads, [&](Index i) { ++plain[static_cast<std::size_t>(i)]; });
      Control control;
      parallel_for(n, n_threads, control,
                   [&](Index i) { ++controlled[static_cast<std::size_t>(i)]; });
      CHECK(plain == std::vector<int>(static_cast<std::size_t>(n), 1));
      CHECK(controlled == plain);
    }
  }
}

void the_first_error_comes_out() {
  for (int n_threads : {1, 2, 3, 7}) {
    for (int repeat = 0; repeat < 50; ++repeat) {
      CHECK(first_message(100, n_threads, false) == "3");
      CHECK(first_message(100, n_threads, true) == "3");
      CHECK(first_message(3, n_threads, true) == "none");
    }
  }
}

void no_item_begins_after_an_error() {
  std::atomic<Index> done{0};
  Control control;
  CHECK(throws<ArgumentError>([&] {
    parallel_for(100000, 3, control, [&](Index i) {
      if (i == 0) throw ArgumentError("at once");
      std::this_thread::sleep_for(std::chrono::microseconds(200));
      ++done;
    });
  }));
  CHECK(done < 1000);
}

void a_stop_ends_the_work() {
  for (int n_threads : {1, 2, 3}) {
    Index seen = -1;
    Control control(
        [&](Index done, Index total) {
          seen = done;
          CHECK(total == 100000);
          throw std::out_of_range("the hook's own");
        },
        100000);
    std::atomic<Index> done{0};
    CHECK(throws<std::out_of_range>([&] {
      parallel_for(100000, n_threads, control, [&](Index) {
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
        ++done;
      });
    }));
    CHECK(control.is_stopped());
    CHECK(seen >= 0 && done < 10000);
    CHECK(throws<Interrupted>([&] { control.check(); }));
    CHECK(throws<std::out_of_range>([&] { control.rethrow(); }));
  }
}

void a_stop_comes_while_others_work() {
  // one long item each; the owner finishes first and must go on polling
  Control control([](Index, Index) { throw Interrupted(); });
  std::atomic<bool> gave_up{false};
  const auto start = std::chrono::steady_clock::now();
  CHECK(throws<Interrupted>([&] {
    parallel_for(2, 2, control, [&](Index) {
      if (control.is_owner()) return;
      while (std::chrono::steady_clock::now() - start < std::chrono::seconds(20)) {
        control.check();
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
      }
      gave_up = true;
    });
    for (;;) control.check();  // the owner took both items: nothing was left to wait for
  }));
  CHECK(!gave_up);
}

void sums_have_the_same_bits() {
  const auto term = [](Index i) { return std::sin(static_cast<double>(i)) * std::exp2(i % 40); };
  for (Index n : {0, 1, 63, 64, 65, 5000}) {
    const double one = ordered_sum(n, 64, 1, term);
    for (int n_threads : {2, 3, 7}) CHECK(ordered_sum(n, 64, n_threads, term) == one);
    double slow = 0.0;
    for (Index start = 0; start < n; start += 64) {
      double part = 0.0;
      for (Index i = start; i < std::min(n, start + 64); ++i) part += term(i);
      slow += part;
    }
    CHECK(slow == one);
  }
}

void few_items_open_few_threads() {
  CHECK(threads_for(100, 10, 4) == 4);
  CHECK(threads_for(25, 10, 4) == 2);
  CHECK(threads_for(0, 10, 4) == 1);
  CHECK(threads_for(100, 0, 4) == 4);
}

}  // namespace

int main() {
  every_item_once();
  the_first_error_comes_out();
  no_item_begins_after_an_error();
  a_stop_ends_the_work();
  a_stop_comes_while_others_work();
  sums_have_the_same_bits();
  few_items_open_few_threads();
  return tests::n_failed;
}

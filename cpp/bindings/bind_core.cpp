#include "arrays.hpp"
#include "modules.hpp"
#include "retemper/core/parallel.hpp"
#include "retemper/core/status.hpp"

namespace retemper::bindings {

namespace {

std::vector<std::pair<std::string, std::string>> status_list() {
  return {status_text.begin(), status_text.end()};
}

/// Sleeps `n_items` times `seconds` under a Control: what the Ctrl-C contract is tested with.
void wait_under_control(Index n_items, double seconds, int n_threads, const py::object& progress) {
  PythonControl control(progress);
  py::gil_scoped_release nogil;
  control.set_total(n_items);
  parallel_for(n_items, n_threads, control, [&](Index) {
    const auto end = std::chrono::steady_clock::now() + std::chrono::duration<double>(seconds);
    while (std::chrono::steady_clock::now() < end) {
      control.check();
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
  });
}

}  // namespace

void bind_core(py::module_& parent) {
  auto m = parent.def_submodule("core");
  m.def("status_list", &status_list);
  m.def(
      "stream_words",
      [](const PhiloxKey& key, std::uint64_t purpose, std::uint64_t replica, std::uint64_t sweep,
         std::uint64_t first, Index n) {
        py::array_t<std::uint64_t> out(n);
        Stream(key, purpose, replica, sweep).words(first, n, out.mutable_data());
        return out;
      },
      "key"_a, "purpose"_a, "replica"_a, "sweep"_a, "first"_a, "n"_a);
  m.def(
      "stream_uniform",
      [](const PhiloxKey& key, std::uint64_t purpose, std::uint64_t replica, std::uint64_t sweep,
         std::uint64_t first, Index n) {
        py::array_t<double> out(n);
        Stream(key, purpose, replica, sweep).uniform(first, n, out.mutable_data());
        return out;
      },
      "key"_a, "purpose"_a, "replica"_a, "sweep"_a, "first"_a, "n"_a);
  m.def(
      "ordered_sum",
      [](ConstVectorView x, Index block, int n_threads) {
        return ordered_sum(x.size(), block, n_threads, [&](Index i) { return x[i]; });
      },
      "x"_a.noconvert(), "block"_a, "n_threads"_a, ReleaseGil());
  m.def("wait_under_control", &wait_under_control, "n_items"_a, "seconds"_a, "n_threads"_a,
        "progress"_a = py::none());
}

}  // namespace retemper::bindings

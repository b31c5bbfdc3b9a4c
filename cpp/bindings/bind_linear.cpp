#include "arrays.hpp"
#include "modules.hpp"

namespace retemper::bindings {

void bind_linear(py::module_& parent) {
  auto m = parent.def_submodule("linear");
  (void)m;
}

}  // namespace retemper::bindings

#include "arrays.hpp"
#include "modules.hpp"

namespace retemper::bindings {

void bind_numerics(py::module_& parent) {
  auto m = parent.def_submodule("numerics");
  (void)m;
}

}  // namespace retemper::bindings

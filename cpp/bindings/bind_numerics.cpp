#include "arrays.hpp"
#include "modules.hpp"
#include "retemper/numerics/vector_kernels.hpp"

namespace retemper::bindings {

void bind_numerics(py::module_& parent) {
  auto m = parent.def_submodule("numerics");

  // vector mathematics
  namespace ew = numerics::elementwise;
  const auto elementwise = [&m](const char* name, Vector (*f)(const ConstVectorView&, int)) {
    m.def(name, f, "x"_a.noconvert(), "n_threads"_a, ReleaseGil());
  };
  elementwise("exp", &ew::exp);
  elementwise("log", &ew::log);
  elementwise("erfc", &ew::erfc);
  elementwise("erfcx", &ew::erfcx);
  elementwise("ndtr", &ew::ndtr);
  elementwise("log_ndtr", &ew::log_ndtr);
  elementwise("hazard", &ew::hazard);
  elementwise("ndtri", &ew::ndtri);
  elementwise("asin", &ew::asin);
  elementwise("acos", &ew::acos);
}

}  // namespace retemper::bindings

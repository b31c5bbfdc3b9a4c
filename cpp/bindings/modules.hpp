// One function per submodule of the extension.
#pragma once

#include <pybind11/pybind11.h>

namespace retemper::bindings {

void bind_core(pybind11::module_& m);
void bind_numerics(pybind11::module_& m);
void bind_diagonal(pybind11::module_& m);
void bind_linear(pybind11::module_& m);
void bind_phases(pybind11::module_& m);
void bind_widenet(pybind11::module_& m);

}  // namespace retemper::bindings

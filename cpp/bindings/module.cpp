#include <pybind11/pybind11.h>

#include "modules.hpp"
#include "retemper/core/error.hpp"
#include "retemper/core/level.hpp"

#ifdef _OPENMP
#include <omp.h>
#endif

namespace py = pybind11;

namespace {

void translate(std::exception_ptr error) {
  try {
    if (error) std::rethrow_exception(error);
  } catch (const retemper::NumericalError& e) {
    py::set_error(py::module_::import("retemper.exceptions").attr("NumericalError"), e.what());
  } catch (const retemper::Interrupted&) {
    py::set_error(PyExc_KeyboardInterrupt, "");
  }
}

int max_threads() {
#ifdef _OPENMP
  return omp_get_max_threads();
#else
  return 1;
#endif
}

int openmp_version() {
#ifdef _OPENMP
  return _OPENMP;
#else
  return 0;
#endif
}

}  // namespace

PYBIND11_MODULE(_core, m) {
  py::register_local_exception_translator(&translate);
  m.attr("level") = retemper::built_level();
  m.attr("eigen_version") = RETEMPER_EIGEN;
  m.attr("compiler") = retemper::built_compiler();
  m.def("max_threads", &max_threads);
  m.def("openmp_version", &openmp_version);
  retemper::bindings::bind_core(m);
  retemper::bindings::bind_numerics(m);
  retemper::bindings::bind_diagonal(m);
  retemper::bindings::bind_linear(m);
  retemper::bindings::bind_perceptron(m);
  retemper::bindings::bind_phases(m);
  retemper::bindings::bind_widenet(m);
}

// The few helpers that bindings share.
#pragma once

#include <pybind11/eigen.h>
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <cstdint>

#include "retemper/core/control.hpp"
#include "retemper/core/random.hpp"
#include "retemper/core/status.hpp"
#include "retemper/core/types.hpp"

namespace retemper::bindings {

namespace py = pybind11;
using namespace pybind11::literals;

using ReleaseGil = py::call_guard<py::gil_scoped_release>;

/// A Control that lets Python stop the work (Ctrl-C, or an exception in `progress`) and, where
/// `progress` is not None, tells it (done, total). Make it with the GIL held and keep it alive
/// outside the released scope; `progress` is borrowed from the caller's frame.
class PythonControl : public Control {
 public:
  explicit PythonControl(const py::object& progress)
      : Control([callback = progress.ptr()](Index done, Index total) {
          py::gil_scoped_acquire gil;
          if (PyErr_CheckSignals() != 0) throw py::error_already_set();
          if (callback != Py_None) py::reinterpret_borrow<py::object>(callback)(done, total);
        }) {}
};

/// A status as Python names it.
inline const char* name_of(Status status) {
  return status_text[static_cast<std::size_t>(status)].first;
}

/// Calls f(control) without the GIL.
template <class F>
auto run(const py::object& progress, F&& f) {
  PythonControl control(progress);
  py::gil_scoped_release nogil;
  return f(control);
}

/// A matrix that numpy allocates, since it asks for huge pages: a large kernel is bound by the
/// first touch of its pages otherwise.
struct NumpyMatrix {
  NumpyMatrix(Index rows, Index cols)
      : array({rows, cols}), map(array.mutable_data(), rows, cols) {}
  py::array_t<double> array;
  Eigen::Map<RowMatrix> map;
};

}  // namespace retemper::bindings

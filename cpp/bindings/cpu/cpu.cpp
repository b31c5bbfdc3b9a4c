// The module retemper._cpu: one function, compiled without any -march and against Python alone,
// so that it can be imported anywhere and compiles at once.
#include <Python.h>

#include "level.hpp"

namespace {

PyObject* level(PyObject*, PyObject*) {
  return PyUnicode_FromString(retemper::processor_level());
}

PyMethodDef methods[] = {{"level", level, METH_NOARGS, "Instruction-set level of the processor."},
                         {nullptr, nullptr, 0, nullptr}};

PyModuleDef module{
    PyModuleDef_HEAD_INIT, "_cpu", nullptr, 0, methods, nullptr, nullptr, nullptr, nullptr};

}  // namespace

PyMODINIT_FUNC PyInit__cpu() {
  return PyModule_Create(&module);
}

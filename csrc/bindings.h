#pragma once

#include <pybind11/pybind11.h>

namespace falconet {

void bind_quantization(pybind11::module_& module);

}  // namespace falconet

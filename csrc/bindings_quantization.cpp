// Python's way to quantization.h.

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <stdexcept>
#include <utility>

#include "bindings.h"
#include "quantization.h"

namespace py = pybind11;

namespace falconet {
namespace {

using Bytes = py::array_t<std::uint8_t, py::array::c_style>;

Quantized checked(double scale, int zero) {
  if (!(scale > 0)) throw std::invalid_argument("scale: expected a number above 0");
  if (zero < 0 || zero > 255) throw std::invalid_argument("zero: expected 0 to 255");
  return {static_cast<float>(scale), zero};
}

void check_sizes(const py::array& in, const py::array& out) {
  if (in.size() != out.size()) throw std::invalid_argument("expected arrays of the same size");
}

template <typename Value>
void quantize_bound(const py::array_t<Value, py::array::c_style>& in, double scale, int zero,
                    Bytes out) {
  check_sizes(in, out);
  const Quantized to = checked(scale, zero);
  const Value* from = in.data();
  std::uint8_t* bytes = out.mutable_data();
  const py::ssize_t count = in.size();
  const py::gil_scoped_release release;
  quantize(from, count, to, bytes);
}

template <typename Value>
void dequantize_bound(const Bytes& in, double scale, int zero,
                      py::array_t<Value, py::array::c_style> out) {
  check_sizes(in, out);
  const Quantized from = checked(scale, zero);
  const std::uint8_t* bytes = in.data();
  Value* to = out.mutable_data();
  const py::ssize_t count = in.size();
  const py::gil_scoped_release release;
  dequantize(bytes, count, from, to);
}

using Pair = std::pair<int, int>;

void max_pool_bound(const Bytes& in, Pair window, Pair stride, Pair padding, Bytes out) {
  if (in.ndim() != 4 || out.ndim() != 4 || in.shape(0) != out.shape(0) ||
      in.shape(3) != out.shape(3)) {
    throw std::invalid_argument("expected batches (N, height, width, C) of as many channels");
  }
  const MaxPool pool{in.shape(0),   in.shape(1),    in.shape(2),  in.shape(3),
                     window.first,  window.second,  stride.first, stride.second,
                     padding.first, padding.second, out.shape(1), out.shape(2)};
  const auto outside = [](py::ssize_t sides, int side, int step, int before, py::ssize_t count) {
    if (side < 1 || step < 1 || before < 0 || before >= side) return true;
    return count > 0 && (count - 1) * step - before >= sides;
  };
  if (outside(pool.height, window.first, stride.first, padding.first, pool.out_height) ||
      outside(pool.width, window.second, stride.second, padding.second, pool.out_width)) {
    throw std::invalid_argument("expected windows that all reach the input");
  }
  const std::uint8_t* bytes = in.data();
  std::uint8_t* to = out.mutable_data();
  const py::gil_scoped_release release;
  max_pool(bytes, pool, to);
}

}  // namespace

void bind_quantization(py::module_& module) {
  // Otherwise pybind11 would convert, and fill a copy.
  const auto in = [] { return py::arg("array").noconvert(); };
  const auto out = [] { return py::arg("out").noconvert(); };
  const auto scale = py::arg("scale"), zero = py::arg("zero");
  module.def("quantize", &quantize_bound<float>, in(), scale, zero, out());
  module.def("quantize", &quantize_bound<std::uint16_t>, in(), scale, zero, out());
  module.def("dequantize", &dequantize_bound<float>, in(), scale, zero, out());
  module.def("dequantize", &dequantize_bound<std::uint16_t>, in(), scale, zero, out());
  module.def("max_pool", &max_pool_bound, in(), py::arg("window"), py::arg("stride"),
             py::arg("padding"), out());
}

}  // namespace falconet

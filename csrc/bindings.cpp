// Everything of the extension that knows Python: argument checks, error messages, the GIL.

#include "bindings.h"

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "implementation.h"
#include "preprocessor.h"
#include "thread_pool.h"

namespace py = pybind11;

namespace falconet {
namespace {

std::string type_name(py::handle object) {
  return py::str(py::type::of(object).attr("__name__")).cast<std::string>();
}

bool is_uint8(const py::array& array) {
  return py::detail::array_descriptor_proxy(py::detail::array_proxy(array.ptr())->descr)
             ->type_num == py::detail::npy_api::NPY_UBYTE_;
}

bool side_fits(py::ssize_t side) { return side >= 1 && side <= kMaxSide; }

std::string shape_of(const py::array& array) {
  return py::str(array.attr("shape")).cast<std::string>();
}

int integer_from(py::handle value, int least, int most, const std::string& what) {
  if (PyIndex_Check(value.ptr()) == 0 || py::isinstance<py::bool_>(value)) {
    throw py::type_error(what + ": expected an integer, got " + type_name(value));
  }
  const auto index = py::reinterpret_steal<py::object>(PyNumber_Index(value.ptr()));
  if (!index) throw py::error_already_set();
  int overflow = 0;
  const long long number = PyLong_AsLongLongAndOverflow(index.ptr(), &overflow);
  if (overflow != 0 || number < least || number > most) {
    throw py::value_error(what + ": expected " + std::to_string(least) + " to " +
                          std::to_string(most) + ", got " + py::str(index).cast<std::string>());
  }
  return static_cast<int>(number);
}

int side_from(py::handle value, const std::string& what) {
  return integer_from(value, 1, kMaxSide, what);
}

std::string string_from(py::handle value, const std::string& what) {
  if (!py::isinstance<py::str>(value)) {
    throw py::type_error(what + ": expected a string, got " + type_name(value));
  }
  return value.cast<std::string>();
}

bool is_pair(py::handle value) {
  return (py::isinstance<py::tuple>(value) || py::isinstance<py::list>(value)) &&
         py::len(value) == 2;
}

Size size_from(py::handle value) {
  if (!is_pair(value)) {
    throw py::type_error("size: expected (height, width), got " +
                         py::repr(value).cast<std::string>());
  }
  const auto pair = py::reinterpret_borrow<py::sequence>(value);
  return {side_from(pair[0], "size[0], the height"), side_from(pair[1], "size[1], the width")};
}

// A checked image, and what keeps its memory alive.
struct HeldImage {
  py::array owner;
  Image image;
};

[[noreturn]] void refuse_image(const py::array& array, int channels, const std::string& what) {
  const std::string wanted = channels == 0 ? "1, 3 or 4" : std::to_string(channels);
  const std::string expected = what + ": expected a uint8 array of shape (height, width, " +
                               wanted + ")" + (channels <= 1 ? " or (height, width)" : "");
  if (!is_uint8(array)) {
    throw py::type_error(expected + ", got dtype " + py::str(array.dtype()).cast<std::string>());
  }
  const bool sides_fit =
      array.ndim() < 2 || (side_fits(array.shape(0)) && side_fits(array.shape(1)));
  if (!sides_fit && array.shape(0) > 0 && array.shape(1) > 0) {
    throw py::value_error(what + ": expected sides of 1 to " + std::to_string(kMaxSide) +
                          " pixels, got shape " + shape_of(array));
  }
  const bool planes =
      array.ndim() == 3 && (array.shape(0) == channels ||
                            (channels == 0 && (array.shape(0) == 3 || array.shape(0) == 4)));
  throw py::value_error(expected + ", got shape " + shape_of(array) +
                        (planes ? "; give .transpose(1, 2, 0), which copies nothing" : ""));
}

// `channels` 0 accepts 1, 3 or 4; anything else only that number. `what` names the image. Errors
// are put into words elsewhere, as this is done for each of many small images.
template <class Name>
HeldImage image_from(py::handle value, int channels, const Name& what) {
  py::array array;
  if (py::isinstance<py::array>(value)) {
    array = py::reinterpret_borrow<py::array>(value);
  } else {
    array = py::module_::import("falconet.native.image").attr("array_of")(value, channels, what());
  }
  const py::ssize_t dimensions = array.ndim();
  const bool flat = dimensions == 2;
  const py::ssize_t got = flat ? 1 : dimensions == 3 ? array.shape(2) : 0;
  const bool fits = channels == 0 ? got == 1 || got == 3 || got == 4 : got == channels;
  if (!is_uint8(array) || !fits || !side_fits(array.shape(0)) || !side_fits(array.shape(1))) {
    refuse_image(array, channels, what());
  }
  const Image image{static_cast<const std::uint8_t*>(array.data()),
                    static_cast<int>(array.shape(0)),
                    static_cast<int>(array.shape(1)),
                    static_cast<int>(got),
                    array.strides(0),
                    array.strides(1),
                    flat ? 1 : array.strides(2)};
  return {std::move(array), image};
}

// None leaves the choice to the environment, and that to us.
const Kernels& kernels_from(py::handle value) {
  if (!value.is_none()) return implementation_from_name(string_from(value, "implementation"));
  const char* const forced = std::getenv("FALCONET_IMPLEMENTATION");
  try {
    return implementation_from_name(forced == nullptr ? "" : forced);
  } catch (const std::invalid_argument& error) {
    throw py::value_error("the environment variable FALCONET_IMPLEMENTATION as " +
                          std::string(error.what()));
  }
}

py::tuple implementations_bound() {
  py::list names;
  for (const Kernels* kernels : implementations()) names.append(kernels->name);
  return py::tuple(names);
}

py::array resize_bound(py::handle image, py::handle size_argument, py::handle filter_argument,
                       py::handle exact_as_argument, py::handle implementation) {
  const HeldImage held = image_from(image, 0, [] { return std::string("image"); });
  const Size size = size_from(size_argument);
  const Filter filter = filter_from_name(string_from(filter_argument, "filter"));
  const Reference exact_as = reference_from_name(string_from(exact_as_argument, "exact_as"));
  if (exact_as == Reference::torch) check_torch_filter(filter);
  if (std::max(size.height, size.width) > longest_side(exact_as)) {
    throw py::value_error("size: expected sides of at most " +
                          std::to_string(longest_side(exact_as)) + " pixels with exact_as='torch'");
  }
  const Kernels& kernels = kernels_from(implementation);
  std::vector<py::ssize_t> shape = {size.height, size.width};
  if (held.owner.ndim() == 3) shape.push_back(held.image.channels);
  py::array_t<std::uint8_t> out(shape);
  const Target target = {{out.mutable_data(), Element::uint8, Layout::nhwc, 0},
                         static_cast<std::ptrdiff_t>(size.width) * held.image.channels,
                         nullptr};
  {
    const py::gil_scoped_release release;
    run(held.image, {size, {0, 0, size.height, size.width}, filter, exact_as}, kernels, target);
  }
  return out;
}

// The name of a pair of names, as its place among them.
int choice_from(py::handle value, const std::string& what, const char* first, const char* second) {
  const std::string name = string_from(value, what);
  if (name == first) return 0;
  if (name == second) return 1;
  throw py::value_error(what + ": expected '" + first + "' or '" + second + "', got '" + name +
                        "'");
}

struct Resizing {
  Fit fit;
  Size to;
};

Resizing resizing_from(py::handle resize, py::handle fit_argument, Size size) {
  const bool longer = choice_from(fit_argument, "fit", "shorter", "longer") == 1;
  const bool both = resize.is_none() || is_pair(resize);
  if (both && longer) {
    throw py::value_error("fit: 'longer' expects resize to be the longer side's length, got " +
                          py::repr(resize).cast<std::string>());
  }
  if (resize.is_none()) return {Fit::both, size};
  if (both) {
    const auto pair = py::reinterpret_borrow<py::sequence>(resize);
    return {
        Fit::both,
        {side_from(pair[0], "resize[0], the height"), side_from(pair[1], "resize[1], the width")}};
  }
  if (PyIndex_Check(resize.ptr()) == 0) {
    throw py::type_error("resize: expected None, an integer or (height, width), got " +
                         py::repr(resize).cast<std::string>());
  }
  const int side =
      side_from(resize, std::string("resize, the ") + (longer ? "longer" : "shorter") + " side");
  return {longer ? Fit::longer : Fit::shorter, {side, side}};
}

std::vector<std::uint8_t> fill_from(py::handle value, std::size_t channels) {
  const auto byte_from = [](py::handle byte) {
    return static_cast<std::uint8_t>(integer_from(byte, 0, 255, "fill"));
  };
  if (PyIndex_Check(value.ptr()) != 0) return std::vector<std::uint8_t>(channels, byte_from(value));
  if (!py::isinstance<py::tuple>(value) && !py::isinstance<py::list>(value)) {
    throw py::type_error("fill: expected a byte, or one per channel, got " +
                         py::repr(value).cast<std::string>());
  }
  std::vector<std::uint8_t> fill;
  for (const py::handle byte : value) fill.push_back(byte_from(byte));
  return fill;
}

Preprocessor::Options options_from(py::handle size_argument, py::handle resize, py::handle fit,
                                   py::handle crop, py::handle fill, py::handle filter,
                                   py::handle exact_as, const std::vector<double>& mean,
                                   const std::vector<double>& std, py::handle layout,
                                   py::handle dtype, py::handle implementation) {
  Preprocessor::Options options;
  options.size = size_from(size_argument);
  const Resizing resizing = resizing_from(resize, fit, options.size);
  options.fit = resizing.fit;
  options.resize = resizing.to;
  options.crop =
      choice_from(crop, "crop", "center", "center_floor") == 0 ? Crop::center : Crop::center_floor;
  options.fill = fill_from(fill, mean.size());
  options.filter = filter_from_name(string_from(filter, "filter"));
  options.exact_as = reference_from_name(string_from(exact_as, "exact_as"));
  options.mean = mean;
  options.std = std;
  options.layout = choice_from(layout, "layout", "NCHW", "NHWC") == 0 ? Layout::nchw : Layout::nhwc;
  options.element = choice_from(dtype, "dtype", "float32", "bfloat16") == 0 ? Element::float32
                                                                            : Element::bfloat16;
  options.kernels = &kernels_from(implementation);
  return options;
}

class BoundPreprocessor {
 public:
  BoundPreprocessor(py::handle size, py::handle resize, py::handle fit, py::handle crop,
                    py::handle fill, py::handle filter, py::handle exact_as,
                    const std::vector<double>& mean, const std::vector<double>& std,
                    py::handle layout, py::handle dtype, py::handle threads,
                    py::handle implementation, py::handle min_parallel_bytes)
      : preprocessor_(options_from(size, resize, fit, crop, fill, filter, exact_as, mean, std,
                                   layout, dtype, implementation)),
        threads_(integer_from(threads, 1, kMaxThreads, "threads")),
        min_parallel_bytes_(integer_from(min_parallel_bytes, 0, std::numeric_limits<int>::max(),
                                         "min_parallel_bytes")) {}

  ~BoundPreprocessor() { abandon_after_fork(); }

  py::array call(py::handle images_argument, const std::optional<py::array>& given) {
    if (!py::isinstance<py::list>(images_argument) && !py::isinstance<py::tuple>(images_argument)) {
      throw py::type_error("images: expected a list of images, got " + type_name(images_argument));
    }
    const auto images = py::reinterpret_borrow<py::sequence>(images_argument);
    const std::size_t count = py::len(images);
    const int channels = preprocessor_.channels();
    // All checks come before anything is written.
    std::vector<HeldImage> held;
    held.reserve(count);
    std::size_t bytes = 0;
    for (std::size_t i = 0; i < count; ++i) {
      const auto what = [i] { return "images[" + std::to_string(i) + "]"; };
      held.push_back(image_from(images[i], channels, what));
      const Image& image = held.back().image;
      bytes += static_cast<std::size_t>(image.height) * image.width * channels;
      try {
        preprocessor_.resized({image.height, image.width});
      } catch (const std::invalid_argument& error) {
        throw py::value_error(what() + ": " + error.what());
      }
    }
    py::array out = given ? checked(*given, count) : py::array(dtype(), shape(count));
    auto* data = static_cast<char*>(out.mutable_data());
    const std::size_t image_bytes =
        preprocessor_.elements_per_image() * bytes_of(preprocessor_.options().element);
    bytes += count * image_bytes;
    const auto task = [&](std::size_t i) {
      preprocessor_.run(held[i].image, data + i * image_bytes);
    };
    if (threads_ == 1 || count <= 1 || bytes < min_parallel_bytes_) {
      const py::gil_scoped_release release;
      for (std::size_t i = 0; i < count; ++i) task(i);
    } else {
      ThreadPool& threads = pool();
      const py::gil_scoped_release release;
      // By way of a pointer, which std::function holds without allocating.
      threads.run(count, [&task](std::size_t i) { task(i); });
    }
    return out;
  }

  py::tuple resized(py::handle height, py::handle width) const {
    const Size size =
        preprocessor_.resized({side_from(height, "height"), side_from(width, "width")});
    return py::make_tuple(size.height, size.width);
  }

  std::string implementation() const { return preprocessor_.options().kernels->name; }

  // Bytes read and written for which it pays to wake threads up.
  static constexpr int kMinParallelBytes = 1 << 20;

  py::tuple fill() const {
    py::list bytes;
    for (const std::uint8_t byte : preprocessor_.options().fill) bytes.append(int{byte});
    return py::tuple(bytes);
  }

 private:
  static constexpr int kMaxThreads = 1024;

  // NumPy has no bfloat16: its bits come as uint16.
  py::dtype dtype() const {
    return preprocessor_.options().element == Element::float32 ? py::dtype::of<float>()
                                                               : py::dtype::of<std::uint16_t>();
  }

  std::vector<py::ssize_t> shape(std::size_t count) const {
    const auto n = static_cast<py::ssize_t>(count);
    const Size size = preprocessor_.options().size;
    const int channels = preprocessor_.channels();
    if (preprocessor_.options().layout == Layout::nchw)
      return {n, channels, size.height, size.width};
    return {n, size.height, size.width, channels};
  }

  py::array checked(const py::array& out, std::size_t count) const {
    const std::vector<py::ssize_t> wanted = shape(count);
    const bool same_shape =
        std::equal(wanted.begin(), wanted.end(), out.shape(), out.shape() + out.ndim());
    const int needed = py::array::c_style | py::detail::npy_api::NPY_ARRAY_ALIGNED_ |
                       py::detail::npy_api::NPY_ARRAY_WRITEABLE_;
    const bool same_type = out.dtype().is(dtype()) || out.dtype().equal(dtype());
    if (same_type && same_shape && (out.flags() & needed) == needed) return out;
    // Which of them it is.
    const std::string expected = "out: expected a writable, aligned, C-contiguous " +
                                 py::str(dtype()).cast<std::string>() + " array of shape " +
                                 py::str(py::tuple(py::cast(wanted))).cast<std::string>();
    if (!same_type) {
      throw py::type_error(expected + ", got dtype " + py::str(out.dtype()).cast<std::string>());
    }
    if (!same_shape) throw py::value_error(expected + ", got shape " + shape_of(out));
    if ((out.flags() & py::array::c_style) == 0) {
      throw py::value_error(expected + ", got one that is not contiguous");
    }
    if (!out.writeable()) throw py::value_error(expected + ", got a read-only one");
    throw py::value_error(expected + ", got one that is not aligned");
  }

  // Started by the first call, and again after a fork, which threads do not survive. Needs the GIL.
  ThreadPool& pool() {
    abandon_after_fork();
    if (!pool_) {
      pool_ = std::make_unique<ThreadPool>(threads_);
      owner_ = getpid();
    }
    return *pool_;
  }

  // In a child process the pool's threads are gone and its locks as the fork found them: nothing of
  // it can be used, or even destroyed.
  void abandon_after_fork() {
    if (pool_ && owner_ != getpid()) static_cast<void>(pool_.release());
  }

  Preprocessor preprocessor_;
  int threads_;
  std::size_t min_parallel_bytes_;  // a batch of less is done by the calling thread
  std::unique_ptr<ThreadPool> pool_;
  pid_t owner_ = 0;
};

}  // namespace
}  // namespace falconet

PYBIND11_MODULE(_core, module) {
  using falconet::BoundPreprocessor;
  module.doc() = "The compiled half of falconet.native; import that instead.";
  module.def("implementations", &falconet::implementations_bound);
  falconet::bind_quantization(module);
  module.def("resize", &falconet::resize_bound, py::arg("image"), py::arg("size"),
             py::arg("filter"), py::arg("exact_as"), py::arg("implementation"));
  py::class_<BoundPreprocessor>(module, "Preprocessor")
      .def(py::init<py::handle, py::handle, py::handle, py::handle, py::handle, py::handle,
                    py::handle, const std::vector<double>&, const std::vector<double>&, py::handle,
                    py::handle, py::handle, py::handle, py::handle>(),
           py::arg("size"), py::arg("resize"), py::arg("fit"), py::arg("crop"), py::arg("fill"),
           py::arg("filter"), py::arg("exact_as"), py::arg("mean"), py::arg("std"),
           py::arg("layout"), py::arg("dtype"), py::arg("threads"), py::arg("implementation"),
           py::arg("min_parallel_bytes") = BoundPreprocessor::kMinParallelBytes)
      .def("__call__", &BoundPreprocessor::call, py::arg("images"), py::arg("out"))
      .def("resized", &BoundPreprocessor::resized, py::arg("height"), py::arg("width"))
      .def_property_readonly("fill", &BoundPreprocessor::fill)
      .def_property_readonly("implementation", &BoundPreprocessor::implementation);
}

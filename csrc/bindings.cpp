// Everything of the extension that knows Python: argument checks, error messages, the GIL.

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>
#include <unistd.h>

#include <memory>
#include <string>
#include <vector>

#include "preprocessor.h"
#include "thread_pool.h"

namespace py = pybind11;

namespace falconet {
namespace {

std::string type_name(py::handle object) {
  return py::str(py::type::of(object).attr("__name__")).cast<std::string>();
}

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

Size size_from(py::handle value) {
  if ((!py::isinstance<py::tuple>(value) && !py::isinstance<py::list>(value)) ||
      py::len(value) != 2) {
    throw py::type_error("size: expected (height, width), got " +
                         py::repr(value).cast<std::string>());
  }
  const auto pair = py::reinterpret_borrow<py::sequence>(value);
  return {side_from(pair[0], "size[0], the height"), side_from(pair[1], "size[1], the width")};
}

// A checked picture, and what keeps its memory alive.
struct HeldImage {
  py::array owner;
  Image image;
};

// `channels` 0 accepts 1, 3 or 4; anything else only that number.
HeldImage image_from(py::handle value, int channels, const std::string& what) {
  const std::string wanted = channels == 0 ? "1, 3 or 4" : std::to_string(channels);
  const std::string expected = what + ": expected a uint8 NumPy array of shape (height, width, " +
                               wanted + ")" + (channels <= 1 ? " or (height, width)" : "");
  if (!py::isinstance<py::array>(value)) {
    throw py::type_error(expected + ", got " + type_name(value));
  }
  auto array = py::reinterpret_borrow<py::array>(value);
  if (!array.dtype().equal(py::dtype::of<std::uint8_t>())) {
    throw py::type_error(expected + ", got dtype " + py::str(array.dtype()).cast<std::string>());
  }
  const bool flat = array.ndim() == 2;
  if (!flat && array.ndim() != 3) {
    throw py::value_error(expected + ", got shape " + shape_of(array));
  }
  const py::ssize_t got = flat ? 1 : array.shape(2);
  if (channels == 0 ? got != 1 && got != 3 && got != 4 : got != channels) {
    throw py::value_error(expected + ", got shape " + shape_of(array));
  }
  for (int axis = 0; axis < 2; ++axis) {
    if (array.shape(axis) < 1 || array.shape(axis) > kMaxSide) {
      throw py::value_error(what + ": expected sides of 1 to " + std::to_string(kMaxSide) +
                            " pixels, got shape " + shape_of(array));
    }
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

py::array resize_bound(py::handle picture, py::handle size_argument, py::handle filter_argument) {
  const HeldImage held = image_from(picture, 0, "image");
  const Size size = size_from(size_argument);
  const Filter filter = filter_from_name(string_from(filter_argument, "filter"));
  std::vector<py::ssize_t> shape = {size.height, size.width};
  if (held.owner.ndim() == 3) shape.push_back(held.image.channels);
  py::array_t<std::uint8_t> out(shape);
  std::uint8_t* data = out.mutable_data();
  {
    const py::gil_scoped_release release;
    resize(held.image, size, filter, {0, 0, size.height, size.width}, data);
  }
  return out;
}

Layout layout_from(py::handle value) {
  const std::string name = string_from(value, "layout");
  if (name == "NCHW") return Layout::nchw;
  if (name == "NHWC") return Layout::nhwc;
  throw py::value_error("layout: expected 'NCHW' or 'NHWC', got '" + name + "'");
}

std::optional<int> resize_from(py::handle value) {
  if (value.is_none()) return std::nullopt;
  return side_from(value, "resize, the shorter side");
}

class BoundPreprocessor {
 public:
  BoundPreprocessor(py::handle size, py::handle resize, py::handle filter,
                    const std::vector<double>& mean, const std::vector<double>& std,
                    py::handle layout, py::handle threads)
      : preprocessor_(size_from(size), resize_from(resize),
                      filter_from_name(string_from(filter, "filter")), mean, std,
                      layout_from(layout)),
        threads_(integer_from(threads, 1, kMaxThreads, "threads")) {}

  ~BoundPreprocessor() { abandon_after_fork(); }

  py::array call(py::handle images_argument, const std::optional<py::array>& given) {
    if (!py::isinstance<py::list>(images_argument) && !py::isinstance<py::tuple>(images_argument)) {
      throw py::type_error("images: expected a list of pictures, got " +
                           type_name(images_argument));
    }
    const auto images = py::reinterpret_borrow<py::sequence>(images_argument);
    const std::size_t count = py::len(images);
    const int channels = preprocessor_.channels();
    // All checks come before anything is written.
    std::vector<HeldImage> held;
    held.reserve(count);
    for (std::size_t i = 0; i < count; ++i) {
      const std::string what = "images[" + std::to_string(i) + "]";
      held.push_back(image_from(images[i], channels, what));
      try {
        preprocessor_.resized({held[i].image.height, held[i].image.width});
      } catch (const std::invalid_argument& error) {
        throw py::value_error(what + ": " + error.what());
      }
    }
    py::array out = given ? checked(*given, count) : py::array_t<float>(shape(count));
    auto* data = static_cast<float*>(out.mutable_data());
    const std::size_t floats = preprocessor_.floats_per_image();
    ThreadPool& threads = pool();
    {
      const py::gil_scoped_release release;
      threads.run(count,
                  [&](std::size_t i) { preprocessor_.run(held[i].image, data + i * floats); });
    }
    return out;
  }

  py::tuple resized(py::handle height, py::handle width) const {
    const Size size =
        preprocessor_.resized({side_from(height, "height"), side_from(width, "width")});
    return py::make_tuple(size.height, size.width);
  }

 private:
  static constexpr int kMaxThreads = 1024;

  std::vector<py::ssize_t> shape(std::size_t count) const {
    const auto n = static_cast<py::ssize_t>(count);
    const Size size = preprocessor_.size();
    const int channels = preprocessor_.channels();
    if (preprocessor_.layout() == Layout::nchw) return {n, channels, size.height, size.width};
    return {n, size.height, size.width, channels};
  }

  py::array checked(const py::array& out, std::size_t count) const {
    const std::vector<py::ssize_t> wanted = shape(count);
    const std::string expected =
        "out: expected a writable, aligned, C-contiguous float32 array of shape " +
        py::str(py::tuple(py::cast(wanted))).cast<std::string>();
    if (!out.dtype().equal(py::dtype::of<float>())) {
      throw py::type_error(expected + ", got dtype " + py::str(out.dtype()).cast<std::string>());
    }
    if (std::vector<py::ssize_t>(out.shape(), out.shape() + out.ndim()) != wanted) {
      throw py::value_error(expected + ", got shape " + shape_of(out));
    }
    if ((out.flags() & py::array::c_style) == 0) {
      throw py::value_error(expected + ", got one that is not contiguous");
    }
    if ((out.flags() & py::detail::npy_api::NPY_ARRAY_ALIGNED_) == 0) {
      throw py::value_error(expected + ", got one that is not aligned");
    }
    if (!out.writeable()) throw py::value_error(expected + ", got a read-only one");
    return out;
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
  std::unique_ptr<ThreadPool> pool_;
  pid_t owner_ = 0;
};

}  // namespace
}  // namespace falconet

PYBIND11_MODULE(_core, module) {
  using falconet::BoundPreprocessor;
  module.doc() = "The compiled half of falconet.native; import that instead.";
  module.def("resize", &falconet::resize_bound, py::arg("image"), py::arg("size"),
             py::arg("filter"));
  py::class_<BoundPreprocessor>(module, "Preprocessor")
      .def(py::init<py::handle, py::handle, py::handle, const std::vector<double>&,
                    const std::vector<double>&, py::handle, py::handle>(),
           py::arg("size"), py::arg("resize"), py::arg("filter"), py::arg("mean"), py::arg("std"),
           py::arg("layout"), py::arg("threads"))
      .def("__call__", &BoundPreprocessor::call, py::arg("images"), py::arg("out"))
      .def("resized", &BoundPreprocessor::resized, py::arg("height"), py::arg("width"));
}

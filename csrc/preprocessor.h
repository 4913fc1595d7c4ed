#pragma once

#include <cstdint>
#include <vector>

#include "pipeline.h"

namespace falconet {

// Which sides of an image are resized to a given length: both, or the shorter or the longer one,
// which the other follows in proportion.
enum class Fit { both, shorter, longer };

// How the center of a resized image is found where an odd number of pixels is left over. A
// image that is too small is padded in the same way.
enum class Crop {
  center,        // torchvision's and timm's: halves round to even, an odd pixel is padded after
  center_floor,  // Hugging Face's with NumPy: halves round down, an odd pixel is padded before
};

// Turns one image of any size into one normalized image of a fixed size.
// Immutable once made: any number of threads may share one.
class Preprocessor {
 public:
  struct Options {
    Size size;
    Fit fit;
    Size resize;  // of the whole image; its height counts where `fit` names one side
    Crop crop;
    std::vector<std::uint8_t> fill;  // what is padded, a byte per channel
    Filter filter;
    Reference exact_as;
    // Per channel, in units of the pixel range [0, 1].
    std::vector<double> mean;
    std::vector<double> std;
    Layout layout;
    Element element;  // float32 or bfloat16
    const Kernels* kernels;
  };

  // Throws std::invalid_argument for options that do not fit together.
  explicit Preprocessor(const Options& options);
  Preprocessor(const Preprocessor&) = delete;
  Preprocessor& operator=(const Preprocessor&) = delete;

  const Options& options() const { return options_; }
  int channels() const { return normalization_.channels; }
  std::size_t elements_per_image() const {
    return static_cast<std::size_t>(options_.size.height) * options_.size.width * channels();
  }
  const Normalization& normalization() const { return normalization_; }

  // What an image is resized to, before the crop. By its shorter side, the longer one is cut to
  // whole pixels, as by torchvision's Resize, and std::invalid_argument thrown if it gets longer
  // than longest_side(). By its longer side, the shorter one is rounded, halves to even, as by
  // timm's ResizeKeepRatio, and at least 1, where timm fails.
  Size resized(Size image) const;

  // Writes elements_per_image() elements. `image.channels` has to equal channels(), and resized()
  // has to have a result. Throws std::bad_alloc, with some of them written.
  void run(const Image& image, void* out) const;

 private:
  void pad(void* out) const;

  Options options_;
  std::vector<float> table_;
  Normalization normalization_;
};

}  // namespace falconet

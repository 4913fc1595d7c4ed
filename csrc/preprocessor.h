#pragma once

#include <optional>
#include <vector>

#include "pipeline.h"

namespace falconet {

// Turns one picture of any size into one normalized picture of a fixed size.
// Immutable once made: any number of threads may share one.
class Preprocessor {
 public:
  struct Options {
    Size size;
    // Nothing squashes the whole picture to `size`; a length resizes the shorter side to it and
    // keeps the center.
    std::optional<int> resize;
    Filter filter;
    Reference reference;
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

  // What a picture is resized to, before the crop. The longer side grows in proportion and is cut
  // to whole pixels, as torchvision's Resize does. Throws std::invalid_argument if it gets longer
  // than longest_side().
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

#pragma once

#include <optional>
#include <vector>

#include "resize.h"

namespace falconet {

enum class Layout { nchw, nhwc };

// Turns one picture of any size into one normalized float32 picture of a fixed size.
// Immutable once made: any number of threads may share one.
class Preprocessor {
 public:
  // `resize`: nothing squashes the whole picture to `size`; a length resizes the shorter side to it
  // and keeps the center. `mean` and `std` are per channel, in units of the pixel range [0, 1].
  Preprocessor(Size size, std::optional<int> resize, Filter filter, const std::vector<double>& mean,
               const std::vector<double>& std, Layout layout);

  Size size() const { return size_; }
  int channels() const { return static_cast<int>(normalized_.size()) / 256; }
  Layout layout() const { return layout_; }
  std::size_t floats_per_image() const {
    return static_cast<std::size_t>(size_.height) * size_.width * channels();
  }

  // What a picture is resized to, before the crop. The longer side grows in proportion and is cut
  // to whole pixels, as torchvision's Resize does. Throws std::invalid_argument if it gets longer
  // than kMaxSide.
  Size resized(Size image) const;

  // Writes floats_per_image() floats. `image.channels` has to equal channels(), and resized() has
  // to have a result.
  void run(const Image& image, float* out) const;

 private:
  Size size_;
  std::optional<int> resize_;
  Filter filter_;
  Layout layout_;
  // The normalized value of every byte, 256 for each channel.
  std::vector<float> normalized_;
};

}  // namespace falconet

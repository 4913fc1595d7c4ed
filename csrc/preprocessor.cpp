#include "preprocessor.h"

#include <cmath>
#include <limits>
#include <stdexcept>

namespace falconet {
namespace {

// Where one axis of the crop lies in the resized picture, and what has to be padded before it.
struct Span {
  int start;
  int length;
  int padding;
};

// torchvision's CenterCrop: halves of an odd remainder round to even; what is too small is padded,
// the odd pixel after it.
Span center(int available, int wanted) {
  if (wanted >= available) return {0, available, (wanted - available) / 2};
  return {static_cast<int>(std::nearbyint((available - wanted) / 2.0)), wanted, 0};
}

}  // namespace

Preprocessor::Preprocessor(Size size, std::optional<int> resize, Filter filter,
                           const std::vector<double>& mean, const std::vector<double>& std,
                           Layout layout)
    : size_(size), resize_(resize), filter_(filter), layout_(layout) {
  if (mean.size() != std.size()) {
    throw std::invalid_argument("mean and std: expected one number per channel in each, got " +
                                std::to_string(mean.size()) + " and " + std::to_string(std.size()));
  }
  if (mean.size() != 1 && mean.size() != 3 && mean.size() != 4) {
    throw std::invalid_argument("mean and std: expected 1, 3 or 4 channels, got " +
                                std::to_string(mean.size()));
  }
  normalized_.reserve(256 * mean.size());
  for (std::size_t c = 0; c < mean.size(); ++c) {
    if (!std::isfinite(mean[c])) {
      throw std::invalid_argument("mean: expected finite numbers, got " + std::to_string(mean[c]));
    }
    if (!(std[c] > 0) || !std::isfinite(std[c])) {
      throw std::invalid_argument("std: expected finite numbers above zero, got " +
                                  std::to_string(std[c]));
    }
    for (int byte = 0; byte < 256; ++byte) {
      const double value = (byte / 255.0 - mean[c]) / std[c];
      if (std::fabs(value) > std::numeric_limits<float>::max()) {
        throw std::invalid_argument("std: expected numbers that leave the result finite, got " +
                                    std::to_string(std[c]));
      }
      normalized_.push_back(static_cast<float>(value));
    }
  }
}

Size Preprocessor::resized(Size image) const {
  if (!resize_) return size_;
  const bool portrait = image.width <= image.height;
  const int shorter = portrait ? image.width : image.height;
  const int longer = portrait ? image.height : image.width;
  const double length = static_cast<double>(static_cast<std::int64_t>(*resize_) * longer) / shorter;
  if (length > kMaxSide) {
    throw std::invalid_argument("a picture of " + std::to_string(image.height) + "x" +
                                std::to_string(image.width) + " with its shorter side resized to " +
                                std::to_string(*resize_) + " would be more than " +
                                std::to_string(kMaxSide) + " long");
  }
  const int other = static_cast<int>(length);
  return portrait ? Size{other, *resize_} : Size{*resize_, other};
}

void Preprocessor::run(const Image& image, float* out) const {
  const Size full = resized({image.height, image.width});
  const Span rows = center(full.height, size_.height);
  const Span columns = center(full.width, size_.width);
  const Window window{rows.start, columns.start, rows.length, columns.length};
  const int channels = this->channels();

  std::vector<std::uint8_t> bytes(static_cast<std::size_t>(window.height) * window.width *
                                  channels);
  resize(image, full, filter_, window, bytes.data());

  const std::size_t plane = static_cast<std::size_t>(size_.height) * size_.width;
  const std::size_t pixel_stride = layout_ == Layout::nchw ? 1 : channels;
  const std::size_t channel_stride = layout_ == Layout::nchw ? plane : 1;
  for (int c = 0; c < channels; ++c) {
    const float* normalized = normalized_.data() + 256 * c;
    float* channel = out + c * channel_stride;
    if (!(Size{window.height, window.width} == size_)) {
      for (std::size_t i = 0; i < plane; ++i) channel[i * pixel_stride] = normalized[0];
    }
    for (int y = 0; y < window.height; ++y) {
      const std::uint8_t* row =
          bytes.data() + static_cast<std::size_t>(y) * window.width * channels + c;
      const std::size_t at = static_cast<std::size_t>(rows.padding + y) * size_.width;
      float* target = channel + (at + columns.padding) * pixel_stride;
      for (int x = 0; x < window.width; ++x) {
        target[x * pixel_stride] = normalized[row[static_cast<std::size_t>(x) * channels]];
      }
    }
  }
}

}  // namespace falconet

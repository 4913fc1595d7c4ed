#pragma once

#include <cstddef>
#include <cstdint>

#include "coefficients.h"

namespace falconet {

// The longest side handled, in pixels. Pillow holds lengths in single precision, which is exact up
// to here.
constexpr int kMaxSide = 1 << 24;

// A picture somebody else owns. Strides are in bytes and may be zero or negative.
struct Image {
  const std::uint8_t* data;
  int height;
  int width;
  int channels;  // 1, 3 or 4
  std::ptrdiff_t row_stride;
  std::ptrdiff_t pixel_stride;
  std::ptrdiff_t channel_stride;

  const std::uint8_t* row(int y) const { return data + y * row_stride; }
  // Whether the samples of a row lie side by side, as all arithmetic needs them.
  bool packed() const { return pixel_stride == channels && (channels == 1 || channel_stride == 1); }
};

// A picture with packed rows over memory of one's own.
Image packed_image(const std::uint8_t* data, int height, int width, int channels);

struct Size {
  int height;
  int width;

  bool operator==(const Size& other) const {
    return height == other.height && width == other.width;
  }
};

// A part of a picture.
struct Window {
  int top;
  int left;
  int height;
  int width;
};

// Resizes `image` to `size` as Pillow's Image.resize does and stores `window` of the result in
// `out`, rows packed: window.height * window.width * channels bytes. Only the samples that
// `window` needs are computed.
void resize(const Image& image, Size size, Filter filter, Window window, std::uint8_t* out);

}  // namespace falconet

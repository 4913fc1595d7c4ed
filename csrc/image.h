#pragma once

#include <cstddef>
#include <cstdint>

#include "packing.h"

namespace falconet {

// The longest side handled, in pixels. Pillow holds lengths in single precision, which is exact up
// to here.
constexpr int kMaxSide = 1 << 24;

// An image somebody else owns. Strides are in bytes and may be zero or negative.
struct Image {
  const std::uint8_t* data;
  int height;
  int width;
  int channels;  // 1, 3 or 4
  std::ptrdiff_t row_stride;
  std::ptrdiff_t pixel_stride;
  std::ptrdiff_t channel_stride;

  const std::uint8_t* row(int y) const { return data + y * row_stride; }
  Spread spread() const { return {channels, pixel_stride, channel_stride}; }
};

struct Size {
  int height;
  int width;

  bool operator==(const Size& other) const {
    return height == other.height && width == other.width;
  }
};

// A part of an image.
struct Window {
  int top;
  int left;
  int height;
  int width;
};

}  // namespace falconet

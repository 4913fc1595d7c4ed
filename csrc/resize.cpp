// Two separable passes, each rounding to uint8, as in Pillow 13.0.0 (src/libImaging/Resample.c).

#include "resize.h"

#include <cstring>
#include <vector>

namespace falconet {
namespace {

// A half, in fixed point: what turns the final shift into rounding.
constexpr std::int32_t kHalf = 1 << (kPrecisionBits - 1);

std::uint8_t to_byte(std::int32_t sum) {
  const std::int32_t value = sum >> kPrecisionBits;
  return static_cast<std::uint8_t>(value < 0 ? 0 : value > 255 ? 255 : value);
}

// Columns [left, left + width) of one row. `in` starts at input column `in_left`.
template <int C>
void horizontal_row(const std::uint8_t* in, int in_left, const Coefficients& columns, int left,
                    int width, std::uint8_t* out) {
  for (int x = left; x < left + width; ++x) {
    const std::int32_t* weights = columns.weights(x);
    const std::uint8_t* pixel = in + static_cast<std::ptrdiff_t>(columns.first(x) - in_left) * C;
    std::int32_t sum[C];
    for (int c = 0; c < C; ++c) sum[c] = kHalf;
    for (int i = 0; i < columns.count(x); ++i) {
      for (int c = 0; c < C; ++c) sum[c] += pixel[i * C + c] * weights[i];
    }
    for (int c = 0; c < C; ++c) *out++ = to_byte(sum[c]);
  }
}

// Columns [left, left + width) of all rows. `in` starts at input column `in_left`.
void horizontal_pass(const Image& in, int in_left, const Coefficients& columns, int left, int width,
                     std::uint8_t* out) {
  const auto row_function = in.channels == 1   ? horizontal_row<1>
                            : in.channels == 3 ? horizontal_row<3>
                                               : horizontal_row<4>;
  const std::size_t out_stride = static_cast<std::size_t>(width) * in.channels;
  for (int y = 0; y < in.height; ++y) {
    row_function(in.row(y), in_left, columns, left, width, out + y * out_stride);
  }
}

// Rows [top, top + height). `in` starts at input row `in_top`.
void vertical_pass(const Image& in, int in_top, const Coefficients& rows, int top, int height,
                   std::uint8_t* out) {
  const std::size_t samples = static_cast<std::size_t>(in.width) * in.channels;
  std::vector<std::int32_t> sums(samples);
  for (int y = top; y < top + height; ++y) {
    const std::int32_t* weights = rows.weights(y);
    sums.assign(samples, kHalf);
    for (int i = 0; i < rows.count(y); ++i) {
      const std::uint8_t* row = in.row(rows.first(y) - in_top + i);
      const std::int32_t weight = weights[i];
      for (std::size_t s = 0; s < samples; ++s) sums[s] += row[s] * weight;
    }
    for (std::size_t s = 0; s < samples; ++s) *out++ = to_byte(sums[s]);
  }
}

void copy_window(const Image& in, Window window, std::uint8_t* out) {
  const std::size_t row_bytes = static_cast<std::size_t>(window.width) * in.channels;
  for (int y = 0; y < window.height; ++y) {
    const std::uint8_t* row =
        in.row(window.top + y) + static_cast<std::ptrdiff_t>(window.left) * in.channels;
    std::memcpy(out + y * row_bytes, row, row_bytes);
  }
}

Image crop(const Image& in, Window window) {
  Image part = in;
  part.data = in.row(window.top) + window.left * in.pixel_stride;
  part.height = window.height;
  part.width = window.width;
  return part;
}

std::vector<std::uint8_t> packed_samples(const Image& in) {
  std::vector<std::uint8_t> samples;
  samples.reserve(static_cast<std::size_t>(in.height) * in.width * in.channels);
  for (int y = 0; y < in.height; ++y) {
    for (int x = 0; x < in.width; ++x) {
      for (int c = 0; c < in.channels; ++c) {
        samples.push_back(in.row(y)[x * in.pixel_stride + c * in.channel_stride]);
      }
    }
  }
  return samples;
}

// Pillow 13 runs the vertical pass first where that takes off more than twice as many rows as the
// horizontal one takes off columns. The order shows in the result, because each pass rounds. It is
// decided on the whole picture, not on the window.
bool vertical_first(const Image& in, Size size) {
  const int shrink_height = in.height - size.height;
  const int shrink_width = in.width - size.width;
  return shrink_height > 0 && shrink_height > 2 * static_cast<std::int64_t>(shrink_width);
}

}  // namespace

Image packed_image(const std::uint8_t* data, int height, int width, int channels) {
  return {data,     height, width, channels, static_cast<std::ptrdiff_t>(width) * channels,
          channels, 1};
}

void resize(const Image& image, Size size, Filter filter, Window window, std::uint8_t* out) {
  if (!image.packed()) {
    const std::vector<std::uint8_t> samples = packed_samples(image);
    const Image copy = packed_image(samples.data(), image.height, image.width, image.channels);
    return resize(copy, size, filter, window, out);
  }
  const bool horizontal = size.width != image.width;
  const bool vertical = size.height != image.height;
  if (!horizontal && !vertical) return copy_window(image, window, out);

  const auto columns = [&] {
    return Coefficients(image.width, size.width, filter, window.left, window.left + window.width);
  };
  const auto rows = [&] {
    return Coefficients(image.height, size.height, filter, window.top, window.top + window.height);
  };
  if (!vertical) {
    const Image source = crop(image, {window.top, 0, window.height, image.width});
    return horizontal_pass(source, 0, columns(), window.left, window.width, out);
  }
  if (!horizontal) {
    const Image source = crop(image, {0, window.left, image.height, window.width});
    return vertical_pass(source, 0, rows(), window.top, window.height, out);
  }

  // The first pass makes no more than what the second one reads for the window.
  const Coefficients x = columns();
  const Coefficients y = rows();
  const int channels = image.channels;
  if (vertical_first(image, size)) {
    const int in_width = x.in_end() - x.in_begin();
    std::vector<std::uint8_t> between(static_cast<std::size_t>(window.height) * in_width *
                                      channels);
    const Image source = crop(image, {0, x.in_begin(), image.height, in_width});
    vertical_pass(source, 0, y, window.top, window.height, between.data());
    const Image shrunk = packed_image(between.data(), window.height, in_width, channels);
    horizontal_pass(shrunk, x.in_begin(), x, window.left, window.width, out);
  } else {
    const int in_height = y.in_end() - y.in_begin();
    std::vector<std::uint8_t> between(static_cast<std::size_t>(in_height) * window.width *
                                      channels);
    const Image source = crop(image, {y.in_begin(), 0, in_height, image.width});
    horizontal_pass(source, 0, x, window.left, window.width, between.data());
    const Image shrunk = packed_image(between.data(), in_height, window.width, channels);
    vertical_pass(shrunk, y.in_begin(), y, window.top, window.height, out);
  }
}

}  // namespace falconet

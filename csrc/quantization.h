#pragma once

// What a network in 8-bit integers needs between its layers.

#include <cstddef>
#include <cstdint>

namespace falconet {

// byte = round(value / scale) + zero, held within 0 to 255; halves are rounded to even, and what is
// not a number becomes 0.
struct Quantized {
  float scale;
  int zero;
};

// Values are float32, or bfloat16 as its bits.
void quantize(const float* in, std::ptrdiff_t count, Quantized to, std::uint8_t* out);
void quantize(const std::uint16_t* in, std::ptrdiff_t count, Quantized to, std::uint8_t* out);
void dequantize(const std::uint8_t* in, std::ptrdiff_t count, Quantized from, float* out);
void dequantize(const std::uint8_t* in, std::ptrdiff_t count, Quantized from, std::uint16_t* out);

// A maximum over windows of a batch of pixels with interleaved channels (NHWC). Each window reaches
// at least one pixel.
struct MaxPool {
  std::ptrdiff_t batch, height, width, channels;
  std::ptrdiff_t window_height, window_width;
  std::ptrdiff_t stride_height, stride_width;
  std::ptrdiff_t padding_height, padding_width;
  std::ptrdiff_t out_height, out_width;
};

void max_pool(const std::uint8_t* in, const MaxPool& pool, std::uint8_t* out);

}  // namespace falconet

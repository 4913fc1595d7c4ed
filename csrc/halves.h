#pragma once

// Weights split into two 16-bit halves, for instruction sets that multiply 16-bit numbers:
//
//     weight = low + high * 2^8,    low from -128 to 127
//     sum of pixel * weight = sum of pixel * low + (sum of pixel * high) * 2^8
//
// Integers all along, so the result is the scalar kernel's: two sums that are put together at the
// end. Where a sum leaves 32 bits it does so as modulo 2^32, as the final one, which fits, is
// right.

#include <cstring>

#include "kernels.h"

namespace falconet {
namespace {

// A group is four high halves, then four low ones.
inline void split_into_halves(const std::int32_t weights[4], TapGroup* group) {
  std::int16_t halves[8];
  for (int i = 0; i < 4; ++i) {
    const auto low = static_cast<std::int8_t>(weights[i] & 0xff);
    halves[i] = static_cast<std::int16_t>((weights[i] - low) / 256);
    halves[4 + i] = low;
  }
  std::memcpy(group->bytes, halves, sizeof group->bytes);
}

// The vertical kernel for rows shorter than a vector.
inline void vertical_few(const std::uint8_t* const* taps, const Axis& axis, int output,
                         std::ptrdiff_t samples, std::uint8_t* out) {
  for (std::ptrdiff_t s = 0; s < samples; ++s) {
    std::int32_t sum = 1 << (axis.precision - 1);
    for (int i = 0; i < axis.count[output]; ++i) {
      std::int16_t halves[8];
      std::memcpy(halves, axis.group(output, i / 4).bytes, sizeof halves);
      sum += taps[i][s] * (halves[i % 4] * 256 + halves[4 + i % 4]);
    }
    const std::int32_t value = sum >> axis.precision;
    out[s] = static_cast<std::uint8_t>(value < 0 ? 0 : value > 255 ? 255 : value);
  }
}

// What a vector kernel leaves at the end of a row: the pixels from `done` on.
inline void normalize_rest(const std::uint8_t* in, std::ptrdiff_t done, std::ptrdiff_t pixels,
                           const Normalization& normalization, const Destination& out) {
  Destination rest = out;
  const std::ptrdiff_t offset = out.layout == Layout::nchw ? done : done * normalization.channels;
  rest.data = static_cast<char*>(out.data) + offset * bytes_of(out.element);
  kScalarKernels.normalize(in + done * normalization.channels, pixels - done, normalization, rest);
}

}  // namespace
}  // namespace falconet

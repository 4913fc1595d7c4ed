// The kernels in plain C++: what the others have to equal.

#include <cstring>

#include "kernels.h"

namespace falconet {
namespace {

bool supported() { return true; }

// A group is simply its four weights.
void split(const std::int32_t weights[4], TapGroup* group) {
  std::memcpy(group->bytes, weights, sizeof group->bytes);
}

std::int32_t weight_of(const Axis& axis, int output, int tap) {
  std::int32_t weight;
  std::memcpy(&weight, axis.group(output, tap / 4).bytes + 4 * (tap % 4), sizeof weight);
  return weight;
}

std::uint8_t to_byte(std::int32_t sum, int precision) {
  const std::int32_t value = sum >> precision;
  return static_cast<std::uint8_t>(value < 0 ? 0 : value > 255 ? 255 : value);
}

// One output pixel is the weighted sum of neighbors in its row.
template <int C>
void horizontal_row(const std::uint8_t* in, int left, const Axis& axis, std::uint8_t* out) {
  for (int x = 0; x < axis.size; ++x) {
    const std::uint8_t* pixel = in + static_cast<std::ptrdiff_t>(axis.first[x] - left) * C;
    std::int32_t sum[C];
    for (int c = 0; c < C; ++c) sum[c] = 1 << (axis.precision - 1);  // a half, for rounding
    for (int i = 0; i < axis.count[x]; ++i) {
      const std::int32_t weight = weight_of(axis, x, i);
      for (int c = 0; c < C; ++c) sum[c] += pixel[i * C + c] * weight;
    }
    for (int c = 0; c < C; ++c) *out++ = to_byte(sum[c], axis.precision);
  }
}

void horizontal(const std::uint8_t* const in[4], const Upcoming& /*next*/, int left, int channels,
                const Axis& axis, std::uint8_t* const out[4]) {
  const auto row_function = channels == 1   ? horizontal_row<1>
                            : channels == 3 ? horizontal_row<3>
                                            : horizontal_row<4>;
  for (int r = 0; r < 4; ++r) row_function(in[r], left, axis, out[r]);
}

// One output row is the weighted sum of rows. A block at a time, whose sums stay in registers or
// L1.
void vertical(const std::uint8_t* const* taps, const Axis& axis, int output, std::ptrdiff_t samples,
              std::uint8_t* out) {
  constexpr int kBlock = 256;
  std::int32_t sum[kBlock];
  for (std::ptrdiff_t start = 0; start < samples; start += kBlock) {
    const int length = static_cast<int>(samples - start < kBlock ? samples - start : kBlock);
    for (int s = 0; s < length; ++s) sum[s] = 1 << (axis.precision - 1);
    for (int i = 0; i < axis.count[output]; ++i) {
      const std::int32_t weight = weight_of(axis, output, i);
      const std::uint8_t* row = taps[i] + start;
      for (int s = 0; s < length; ++s) sum[s] += row[s] * weight;
    }
    for (int s = 0; s < length; ++s) out[start + s] = to_byte(sum[s], axis.precision);
  }
}

void store(float value, float* out) { *out = value; }

void store(float value, std::uint16_t* out) {
  std::uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  *out = bfloat16_from(bits);
}

// Every byte's value is looked up: without an instruction for it, fma is a slow function.
template <class T>
void normalize_to(const std::uint8_t* in, std::ptrdiff_t pixels, const Normalization& normalization,
                  const Destination& out) {
  const int channels = normalization.channels;
  const bool planar = out.layout == Layout::nchw;
  for (int c = 0; c < channels; ++c) {
    const float* table = normalization.table + 256 * c;
    T* target = static_cast<T*>(out.data) + (planar ? c * out.plane : c);
    const std::ptrdiff_t step = planar ? 1 : channels;
    for (std::ptrdiff_t x = 0; x < pixels; ++x) {
      store(table[in[x * channels + c]], target + x * step);
    }
  }
}

}  // namespace

const Kernels kScalarKernels = {"scalar",
                                supported,
                                split,
                                horizontal,
                                vertical,
                                normalize_to<float>,
                                normalize_to<std::uint16_t>,
                                pack_scalar};

}  // namespace falconet

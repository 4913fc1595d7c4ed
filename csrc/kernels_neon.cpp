// The kernels for NEON, which every 64-bit Arm processor has.
//
// The multiplication at hand takes 16-bit numbers and adds each product to a 32-bit sum of its own.
// Pixels are widened to 16 bits; weights, of up to 24 bits, are split into two halves (halves.h).

#if defined(__aarch64__)

#include <arm_neon.h>

#include "halves.h"
#include "kernels.h"

namespace falconet {
namespace {

bool supported() { return true; }

// Two partial sums to one, rounded and shifted to a pixel, clipped below; above is still to come.
inline uint16x4_t combine(int32x4_t high, int32x4_t low, int32x4_t half, int32x4_t shift) {
  const int32x4_t sum = vaddq_s32(vshlq_n_s32(high, 8), vaddq_s32(low, half));
  return vqmovun_s32(vshlq_s32(sum, shift));
}

inline int16x8_t load_group(const Axis& axis, int output, int index) {
  return vld1q_s16(reinterpret_cast<const std::int16_t*>(axis.group(output, index).bytes));
}

// One output pixel at a time, its channels side by side, in four rows, which share the loading of
// the weights. Four successive input pixels are loaded, each spread over 32 bits.
template <int C>
void horizontal_rows(const std::uint8_t* const in[4], const Upcoming& next, int left,
                     const Axis& axis, std::uint8_t* const out[4]) {
  std::uint8_t spread_bytes[16];
  for (int i = 0; i < 16; ++i) {
    spread_bytes[i] = static_cast<std::uint8_t>(i % 4 < C ? i / 4 * C + i % 4 : 0xff);
  }
  const uint8x16_t spread = vld1q_u8(spread_bytes);
  const int32x4_t half = vdupq_n_s32(1 << (axis.precision - 1));
  const int32x4_t shift = vdupq_n_s32(-axis.precision);
  constexpr int kBlock = 16;
  for (int x = 0; x < axis.size; ++x) {
    const std::ptrdiff_t at = static_cast<std::ptrdiff_t>(axis.first[x] - left) * C;
    if (x % kBlock == 0) {
      const int last = x + kBlock < axis.size ? x + kBlock : axis.size - 1;
      prefetch(next, axis.first[x] - left, axis.first[last] - left);
    }
    int32x4_t high[4];
    int32x4_t low[4];
    for (int r = 0; r < 4; ++r) high[r] = low[r] = vdupq_n_s32(0);
    for (int g = 0; g < axis.groups; ++g) {
      const int16x8_t weights = load_group(axis, x, g);
      const int16x4_t highs = vget_low_s16(weights);
      const int16x4_t lows = vget_high_s16(weights);
      for (int r = 0; r < 4; ++r) {
        const uint8x16_t pixels =
            vqtbl1q_u8(vld1q_u8(in[r] + at + static_cast<std::ptrdiff_t>(4 * C) * g), spread);
        const int16x8_t pixels01 = vreinterpretq_s16_u16(vmovl_u8(vget_low_u8(pixels)));
        const int16x8_t pixels23 = vreinterpretq_s16_u16(vmovl_u8(vget_high_u8(pixels)));
        high[r] = vmlal_lane_s16(high[r], vget_low_s16(pixels01), highs, 0);
        high[r] = vmlal_lane_s16(high[r], vget_high_s16(pixels01), highs, 1);
        high[r] = vmlal_lane_s16(high[r], vget_low_s16(pixels23), highs, 2);
        high[r] = vmlal_lane_s16(high[r], vget_high_s16(pixels23), highs, 3);
        low[r] = vmlal_lane_s16(low[r], vget_low_s16(pixels01), lows, 0);
        low[r] = vmlal_lane_s16(low[r], vget_high_s16(pixels01), lows, 1);
        low[r] = vmlal_lane_s16(low[r], vget_low_s16(pixels23), lows, 2);
        low[r] = vmlal_lane_s16(low[r], vget_high_s16(pixels23), lows, 3);
      }
    }
    for (int r = 0; r < 4; ++r) {
      const uint16x4_t value = combine(high[r], low[r], half, shift);
      const uint8x8_t bytes = vqmovn_u16(vcombine_u16(value, value));
      vst1_lane_u32(reinterpret_cast<std::uint32_t*>(out[r] + static_cast<std::ptrdiff_t>(x) * C),
                    vreinterpret_u32_u8(bytes), 0);
    }
  }
}

void horizontal(const std::uint8_t* const in[4], const Upcoming& next, int left, int channels,
                const Axis& axis, std::uint8_t* const out[4]) {
  const auto rows_function = channels == 1   ? horizontal_rows<1>
                             : channels == 3 ? horizontal_rows<3>
                                             : horizontal_rows<4>;
  rows_function(in, next, left, axis, out);
}

// Sixteen samples, one row after another.
void vertical_block(const std::uint8_t* const* taps, std::ptrdiff_t at, const Axis& axis,
                    int output, std::uint8_t* out) {
  int32x4_t high[4];
  int32x4_t low[4];
  for (int q = 0; q < 4; ++q) high[q] = low[q] = vdupq_n_s32(0);
  for (int g = 0; g < axis.groups; ++g) {
    std::int16_t halves[8];
    vst1q_s16(halves, load_group(axis, output, g));
    for (int i = 0; i < 4; ++i) {
      const uint8x16_t row = vld1q_u8(taps[4 * g + i] + at);
      const int16x8_t first = vreinterpretq_s16_u16(vmovl_u8(vget_low_u8(row)));
      const int16x8_t second = vreinterpretq_s16_u16(vmovl_u8(vget_high_u8(row)));
      const int16x4_t quarter[4] = {vget_low_s16(first), vget_high_s16(first), vget_low_s16(second),
                                    vget_high_s16(second)};
      for (int q = 0; q < 4; ++q) {
        high[q] = vmlal_n_s16(high[q], quarter[q], halves[i]);
        low[q] = vmlal_n_s16(low[q], quarter[q], halves[4 + i]);
      }
    }
  }
  const int32x4_t half = vdupq_n_s32(1 << (axis.precision - 1));
  const int32x4_t shift = vdupq_n_s32(-axis.precision);
  const uint16x8_t first =
      vcombine_u16(combine(high[0], low[0], half, shift), combine(high[1], low[1], half, shift));
  const uint16x8_t second =
      vcombine_u16(combine(high[2], low[2], half, shift), combine(high[3], low[3], half, shift));
  vst1q_u8(out, vcombine_u8(vqmovn_u16(first), vqmovn_u16(second)));
}

// A row's last block overlaps the one before it, so that nothing is read or written past the end.
void vertical(const std::uint8_t* const* taps, const Axis& axis, int output, std::ptrdiff_t samples,
              std::uint8_t* out) {
  if (samples < 16) return vertical_few(taps, axis, output, samples, out);
  for (std::ptrdiff_t s = 0; s < samples; s += 16) {
    const std::ptrdiff_t at = s + 16 <= samples ? s : samples - 16;
    vertical_block(taps, at, axis, output, out + at);
  }
}

inline void store(float* out, float32x4_t values) { vst1q_f32(out, values); }

inline void store(std::uint16_t* out, float32x4_t values) {
  const uint32x4_t bits = vreinterpretq_u32_f32(values);
  const uint32x4_t odd = vandq_u32(vshrq_n_u32(bits, 16), vdupq_n_u32(1));
  const uint32x4_t rounded = vaddq_u32(vaddq_u32(bits, vdupq_n_u32(0x7fff)), odd);
  vst1_u16(out, vshrn_n_u32(rounded, 16));
}

// Eight samples.
template <class T>
void normalize_eight(uint8x8_t bytes, const float32x4_t scale[2], const float32x4_t bias[2],
                     T* out) {
  const uint16x8_t wide = vmovl_u8(bytes);
  const uint32x4_t quarter[2] = {vmovl_u16(vget_low_u16(wide)), vmovl_u16(vget_high_u16(wide))};
  for (int q = 0; q < 2; ++q) {
    store(out + 4 * q, vfmaq_f32(bias[q], vcvtq_f32_u32(quarter[q]), scale[q]));
  }
}

// Eight pixels at a time, which the loading sorts by channel. Returns how many are done.
template <int C, class T>
std::ptrdiff_t normalize_planar(const std::uint8_t* in, std::ptrdiff_t pixels,
                                const Normalization& normalization, T* out, std::ptrdiff_t plane) {
  std::ptrdiff_t x = 0;
  for (; x + 8 <= pixels; x += 8) {
    uint8x8_t channels[4];
    if constexpr (C == 3) {
      const uint8x8x3_t loaded = vld3_u8(in + 3 * x);
      for (int c = 0; c < 3; ++c) channels[c] = loaded.val[c];
    } else {
      const uint8x8x4_t loaded = vld4_u8(in + 4 * x);
      for (int c = 0; c < 4; ++c) channels[c] = loaded.val[c];
    }
    for (int c = 0; c < C; ++c) {
      const float32x4_t scale = vdupq_n_f32(normalization.scale[c]);
      const float32x4_t bias = vdupq_n_f32(normalization.bias[c]);
      const float32x4_t scales[2] = {scale, scale};
      const float32x4_t biases[2] = {bias, bias};
      normalize_eight(channels[c], scales, biases, out + c * plane + x);
    }
  }
  return x;
}

// Eight samples at a time, whatever their channels: the tables repeat those. Returns how many are
// done.
template <class T>
std::ptrdiff_t normalize_interleaved(const std::uint8_t* in, std::ptrdiff_t samples,
                                     const Normalization& normalization, T* out) {
  std::ptrdiff_t s = 0;
  for (int i = 0; s + 8 <= samples; s += 8, i = (i + 8) % kPattern) {
    const float32x4_t scale[2] = {vld1q_f32(normalization.scale + i),
                                  vld1q_f32(normalization.scale + i + 4)};
    const float32x4_t bias[2] = {vld1q_f32(normalization.bias + i),
                                 vld1q_f32(normalization.bias + i + 4)};
    normalize_eight(vld1_u8(in + s), scale, bias, out + s);
  }
  return s;
}

template <class T>
void normalize_to(const std::uint8_t* in, std::ptrdiff_t pixels, const Normalization& normalization,
                  const Destination& out) {
  T* data = static_cast<T*>(out.data);
  const int channels = normalization.channels;
  std::ptrdiff_t done;
  if (out.layout == Layout::nhwc || channels == 1) {
    done = normalize_interleaved(in, pixels * channels, normalization, data) / channels;
  } else if (channels == 3) {
    done = normalize_planar<3>(in, pixels, normalization, data, out.plane);
  } else {
    done = normalize_planar<4>(in, pixels, normalization, data, out.plane);
  }
  normalize_rest(in, done, pixels, normalization, out);
}

}  // namespace

const Kernels kNeonKernels = {
    "neon",   supported,           split_into_halves,           horizontal,
    vertical, normalize_to<float>, normalize_to<std::uint16_t>, pack_neon};

}  // namespace falconet

#endif

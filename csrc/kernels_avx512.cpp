// The kernels for AVX-512 with VNNI and VBMI (Ice Lake, Zen 4 and later).
//
// VNNI multiplies unsigned bytes with signed bytes and adds four neighboring products to a 32-bit
// sum, 64 products per instruction. The pixels are unsigned bytes already. The weights, of up to 24
// bits, are split into three signed bytes, digits to the base 256:
//
//     weight = d0 + d1 * 2^8 + d2 * 2^16,    each digit from -128 to 127
//     sum of pixel * weight = sum of pixel * d0 + (sum of pixel * d1) * 2^8 + ... * 2^16
//
// Integers all along, so the result is the scalar kernel's: three sums that are put together at the
// end. Where a sum leaves 32 bits it does so as modulo 2^32, as the final one, which fits, is
// right.

#if defined(__x86_64__)

#include <immintrin.h>

#include <cmath>
#include <cstring>

#include "kernels.h"

#if defined(__GNUC__) && !defined(__clang__)
// GCC 12 takes its own intrinsics' undefined operands for ours (its bug 105593).
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#pragma GCC diagnostic ignored "-Wuninitialized"
#endif

#define AVX512 \
  __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi,avx512vnni,bmi2")))

namespace falconet {
namespace {

bool supported() {
  return __builtin_cpu_supports("avx512f") != 0 && __builtin_cpu_supports("avx512bw") != 0 &&
         __builtin_cpu_supports("avx512dq") != 0 && __builtin_cpu_supports("avx512vl") != 0 &&
         __builtin_cpu_supports("avx512vbmi") != 0 && __builtin_cpu_supports("avx512vnni") != 0 &&
         __builtin_cpu_supports("bmi2") != 0;
}

// A group is four digits d0, four d1, four d2, and four bytes that are not used.
void split(const std::int32_t weights[4], TapGroup* group) {
  std::memset(group->bytes, 0, sizeof group->bytes);
  for (int i = 0; i < 4; ++i) {
    std::int32_t rest = weights[i];
    for (int digit = 0; digit < 3; ++digit) {
      const auto low = static_cast<std::int8_t>(rest & 0xff);
      group->bytes[4 * digit + i] = static_cast<std::uint8_t>(low);
      rest = (rest - low) / 256;
    }
  }
}

// Partial sums by digit to one.
AVX512 inline __m512i combine(const __m512i sum[3]) {
  const __m512i high = _mm512_add_epi32(sum[1], _mm512_slli_epi32(sum[2], 8));
  return _mm512_add_epi32(sum[0], _mm512_slli_epi32(high, 8));
}

// Shifts four vectors of sums to pixels. Packing clips those to bytes: four to each 32 bits, one of
// each vector.
AVX512 inline __m512i to_bytes(const __m512i sum[4], __m128i precision) {
  const __m512i low =
      _mm512_packs_epi32(_mm512_sra_epi32(sum[0], precision), _mm512_sra_epi32(sum[1], precision));
  const __m512i high =
      _mm512_packs_epi32(_mm512_sra_epi32(sum[2], precision), _mm512_sra_epi32(sum[3], precision));
  return _mm512_packus_epi16(low, high);
}

// Which of the sixteen 32-bit sums of a vector belong to which of P neighboring output pixels. The
// taps of all P lie within one load of 64 bytes. VNNI adds up four taps of a channel in each sum.
//
//     P = 5: three sums to a pixel, for images of three channels
//     P = 4: four sums, a 128-bit lane, to a pixel, with one of them idle for three channels
//     P = 2, 1: two, or all four lanes to a pixel, for as many successive groups of taps
template <int P>
struct SumLayout {
  static constexpr int kPixelsAtATime = P == 5 ? 5 : 4;
  static constexpr int kSums = P == 5 ? 3 : 4;         // to a group
  static constexpr int kGroups = P == 5 ? 1 : 4 / P;   // to a pixel
  static constexpr int kVectors = P == 5 ? 1 : 4 / P;  // to the pixels at a time
  static constexpr int pixel(int sum) { return sum / (kSums * kGroups) % P; }
  static constexpr int group(int sum) { return sum / kSums % kGroups; }
};

// The indices of the bytes, in the loaded 64, that each sum multiplies.
template <int C, int P>
class PixelIndices {
 public:
  AVX512 PixelIndices() {
    using S = SumLayout<P>;
    alignas(64) std::uint8_t by_channel[64];
    alignas(64) std::uint8_t by_pixel[64];
    for (int i = 0; i < 64; ++i) {
      const int tap = 4 * S::group(i / 4) + i % 4;
      by_channel[i] = static_cast<std::uint8_t>(tap * C + i / 4 % S::kSums % C);
      by_pixel[i] = static_cast<std::uint8_t>(4 * S::pixel(i / 4));
    }
    by_channel_ = _mm512_load_si512(by_channel);
    by_pixel_ = _mm512_load_si512(by_pixel);
  }

  // `first` are the input samples of the output pixels' first taps. The load begins at the first.
  AVX512 __m512i of(const int* first) const {
    const __m256i pixels = _mm256_sub_epi32(
        _mm256_loadu_si256(reinterpret_cast<const __m256i*>(first)), _mm256_set1_epi32(*first));
    const __m256i bytes = _mm256_mullo_epi32(pixels, _mm256_set1_epi32(C));
    return _mm512_add_epi8(by_channel_,
                           _mm512_permutexvar_epi8(by_pixel_, _mm512_castsi256_si512(bytes)));
  }

 private:
  __m512i by_channel_;
  __m512i by_pixel_;
};

// The digits of the weights that go with them, in each sum. `group` is the first pixel's; the next
// pixel's is the next in memory, and its next group `stride` further on, if it has that many
// `left`.
template <int P>
AVX512 inline void load_weights(const TapGroup* group, std::ptrdiff_t stride, int left,
                                __m512i digits[3]) {
  if (P == 5) {
    const __m512i four = _mm512_loadu_si512(group);
    const __m512i fifth =
        _mm512_castsi128_si512(_mm_load_si128(reinterpret_cast<const __m128i*>(group + 4)));
    const __m512i d0 = _mm512_setr_epi32(0, 0, 0, 4, 4, 4, 8, 8, 8, 12, 12, 12, 16, 16, 16, 16);
    for (int d = 0; d < 3; ++d) {
      const __m512i place = _mm512_add_epi32(d0, _mm512_set1_epi32(d));
      digits[d] = _mm512_permutex2var_epi32(four, place, fifth);
    }
    return;
  }
  __m512i lanes = _mm512_setzero_si512();
  if (P == 4) lanes = _mm512_load_si512(group);
  if (P == 2) {
    // Two pixels' weights for one group, and for the next: by pixel instead.
    const auto* const second = reinterpret_cast<const __m256i*>(group + stride);
    const __m512i groups0 =
        _mm512_castsi256_si512(_mm256_load_si256(reinterpret_cast<const __m256i*>(group)));
    const __m512i groups1 =
        left > 1 ? _mm512_castsi256_si512(_mm256_load_si256(second)) : _mm512_setzero_si512();
    lanes =
        _mm512_permutex2var_epi64(groups0, _mm512_setr_epi64(0, 1, 8, 9, 2, 3, 10, 11), groups1);
  }
  if (P == 1) {
    for (int i = 0; i < 4 && i < left; ++i) {
      const auto* const place = reinterpret_cast<const __m128i*>(group + i * stride);
      lanes = _mm512_mask_broadcast_i32x4(lanes, static_cast<__mmask16>(0xf << 4 * i),
                                          _mm_load_si128(place));
    }
  }
  digits[0] = _mm512_shuffle_epi32(lanes, _MM_PERM_AAAA);
  digits[1] = _mm512_shuffle_epi32(lanes, _MM_PERM_BBBB);
  digits[2] = _mm512_shuffle_epi32(lanes, _MM_PERM_CCCC);
}

// Lane 0 with lane 1, and 2 with 3, of both: half as many lanes for each pixel.
AVX512 inline __m512i add_lanes(__m512i a, __m512i b) {
  return _mm512_add_epi32(_mm512_shuffle_i64x2(a, b, 0x88), _mm512_shuffle_i64x2(a, b, 0xdd));
}

// A few output pixels at a time, in four rows at a time, which share the loading of the weights.
template <int C, int P>
AVX512 void horizontal_rows(const std::uint8_t* const in[4], const Upcoming& next, int left,
                            const Axis& axis, std::uint8_t* const out[4]) {
  using S = SumLayout<P>;
  alignas(64) std::int8_t by_row[64] = {};
  for (int r = 0; r < 4; ++r) {
    for (int i = 0; i < S::kPixelsAtATime * C; ++i) {
      const int sum = S::kSums * (i / C) + i % C;
      by_row[16 * r + i] = static_cast<std::int8_t>(16 * (sum / 4) + 4 * r + sum % 4);
    }
  }
  const __m512i transpose = _mm512_load_si512(by_row);
  // For rounding; in one group of each pixel.
  constexpr __mmask16 kFirstGroups = S::kGroups == 1 ? 0xffff : S::kGroups == 2 ? 0x0f0f : 0x000f;
  const __m512i half = _mm512_maskz_set1_epi32(kFirstGroups, 1 << (axis.precision - 1));
  const __m128i precision = _mm_cvtsi32_si128(axis.precision);
  const PixelIndices<C, P> indices;
  const int size = axis.size;
  const int groups = axis.groups;
  const std::ptrdiff_t stride = axis.padded_size;

  constexpr int kBlock = P >= 4 ? 20 : 8;
  for (int begin = 0; begin < size; begin += S::kPixelsAtATime) {
    // Fours are padded; the last five overlap those before them.
    const int x = P == 5 && begin > size - 5 ? size - 5 : begin;
    if (begin % kBlock == 0) {
      const int last = begin + kBlock < size ? begin + kBlock : size - 1;
      prefetch(next, axis.first[x] - left, axis.first[last] - left);
    }
    __m512i value[S::kVectors][4];
    for (int v = 0; v < S::kVectors; ++v) {
      const int* const first = axis.first + x + P * v;
      const __m512i place = indices.of(first);
      std::ptrdiff_t at = static_cast<std::ptrdiff_t>(*first - left) * C;
      const TapGroup* group = axis.weights + x + P * v;
      __m512i sum[4][3];
      for (int r = 0; r < 4; ++r) {
        sum[r][0] = half;
        sum[r][1] = sum[r][2] = _mm512_setzero_si512();
      }
      for (int g = 0; g < groups; g += S::kGroups) {
        __m512i digits[3];
        load_weights<P>(group, stride, groups - g, digits);
        for (int r = 0; r < 4; ++r) {
          const __m512i pixels = _mm512_permutexvar_epi8(place, _mm512_loadu_si512(in[r] + at));
          sum[r][0] = _mm512_dpbusd_epi32(sum[r][0], pixels, digits[0]);
          sum[r][1] = _mm512_dpbusd_epi32(sum[r][1], pixels, digits[1]);
          sum[r][2] = _mm512_dpbusd_epi32(sum[r][2], pixels, digits[2]);
        }
        at += 4 * C * S::kGroups;
        group += stride * S::kGroups;
      }
      for (int r = 0; r < 4; ++r) value[v][r] = combine(sum[r]);
    }
    __m512i pixel[4];
    for (int r = 0; r < 4; ++r) {
      if constexpr (S::kVectors == 1) pixel[r] = value[0][r];
      if constexpr (S::kVectors == 2) pixel[r] = add_lanes(value[0][r], value[1][r]);
      if constexpr (S::kVectors == 4) {
        pixel[r] =
            add_lanes(add_lanes(value[0][r], value[1][r]), add_lanes(value[2][r], value[3][r]));
      }
    }
    // What is now in each 32 bits of four rows becomes one row's pixels.
    const __m512i rows = _mm512_permutexvar_epi8(transpose, to_bytes(pixel, precision));
    const __m128i lanes[4] = {_mm512_castsi512_si128(rows), _mm512_extracti32x4_epi32(rows, 1),
                              _mm512_extracti32x4_epi32(rows, 2),
                              _mm512_extracti32x4_epi32(rows, 3)};
    for (int r = 0; r < 4; ++r) {
      _mm_storeu_si128(reinterpret_cast<__m128i*>(out[r] + static_cast<std::ptrdiff_t>(x) * C),
                       lanes[r]);
    }
  }
}

template <int C>
void horizontal_channels(const std::uint8_t* const in[4], const Upcoming& next, int left,
                         const Axis& axis, std::uint8_t* const out[4]) {
  constexpr int kLoaded = 64 / C;  // input pixels
  if constexpr (C == 3) {
    // For more groups, collecting the weights of five costs more than is gained.
    if (axis.size >= 5 && axis.groups <= 3 && axis.span_of_5 + 4 <= kLoaded) {
      return horizontal_rows<C, 5>(in, next, left, axis, out);
    }
  }
  if (axis.span_of_4 + 4 <= kLoaded) return horizontal_rows<C, 4>(in, next, left, axis, out);
  if (axis.span_of_2 + 8 <= kLoaded) return horizontal_rows<C, 2>(in, next, left, axis, out);
  return horizontal_rows<C, 1>(in, next, left, axis, out);
}

void horizontal(const std::uint8_t* const in[4], const Upcoming& next, int left, int channels,
                const Axis& axis, std::uint8_t* const out[4]) {
  if (channels == 1) return horizontal_channels<1>(in, next, left, axis, out);
  if (channels == 3) return horizontal_channels<3>(in, next, left, axis, out);
  return horizontal_channels<4>(in, next, left, axis, out);
}

// 64 samples at a time, from four rows at a time, woven so that the four taps of a sample are
// neighbors. Weaving, and packing later on, work within 128-bit lanes, and the one undoes the
// other's order.
AVX512 void vertical(const std::uint8_t* const* taps, const Axis& axis, int output,
                     std::ptrdiff_t samples, std::uint8_t* out) {
  const __m512i half = _mm512_set1_epi32(1 << (axis.precision - 1));
  const __m128i precision = _mm_cvtsi32_si128(axis.precision);
  const int groups = axis.groups;
  for (std::ptrdiff_t s = 0; s < samples; s += 64) {
    const auto left = static_cast<unsigned>(samples - s < 64 ? samples - s : 64);
    const __mmask64 mask = _bzhi_u64(~0ULL, left);
    __m512i sum[4][3];
    for (int q = 0; q < 4; ++q) {
      sum[q][0] = half;
      sum[q][1] = sum[q][2] = _mm512_setzero_si512();
    }
    for (int g = 0; g < groups; ++g) {
      const __m512i row0 = _mm512_maskz_loadu_epi8(mask, taps[4 * g] + s);
      const __m512i row1 = _mm512_maskz_loadu_epi8(mask, taps[4 * g + 1] + s);
      const __m512i row2 = _mm512_maskz_loadu_epi8(mask, taps[4 * g + 2] + s);
      const __m512i row3 = _mm512_maskz_loadu_epi8(mask, taps[4 * g + 3] + s);
      const __m512i low01 = _mm512_unpacklo_epi8(row0, row1);
      const __m512i high01 = _mm512_unpackhi_epi8(row0, row1);
      const __m512i low23 = _mm512_unpacklo_epi8(row2, row3);
      const __m512i high23 = _mm512_unpackhi_epi8(row2, row3);
      const __m512i woven[4] = {
          _mm512_unpacklo_epi16(low01, low23), _mm512_unpackhi_epi16(low01, low23),
          _mm512_unpacklo_epi16(high01, high23), _mm512_unpackhi_epi16(high01, high23)};
      std::int32_t digits[3];
      std::memcpy(digits, axis.group(output, g).bytes, sizeof digits);
      for (int d = 0; d < 3; ++d) {
        const __m512i weights = _mm512_set1_epi32(digits[d]);
        for (int q = 0; q < 4; ++q) sum[q][d] = _mm512_dpbusd_epi32(sum[q][d], woven[q], weights);
      }
    }
    __m512i value[4];
    for (int q = 0; q < 4; ++q) value[q] = combine(sum[q]);
    _mm512_mask_storeu_epi8(out + s, mask, to_bytes(value, precision));
  }
}

AVX512 inline void store(float* out, __mmask16 mask, __m512 values) {
  _mm512_mask_storeu_ps(out, mask, values);
}

AVX512 inline void store(std::uint16_t* out, __mmask16 mask, __m512 values) {
  const __m512i bits = _mm512_castps_si512(values);
  const __m512i odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
  const __m512i rounded = _mm512_add_epi32(_mm512_add_epi32(bits, _mm512_set1_epi32(0x7fff)), odd);
  _mm256_mask_storeu_epi16(out, mask, _mm512_cvtepi32_epi16(_mm512_srli_epi32(rounded, 16)));
}

AVX512 inline __m512 to_float(__m512i bytes, __m512 scale, __m512 bias) {
  return _mm512_fmadd_ps(_mm512_cvtepi32_ps(bytes), scale, bias);
}

// Sixteen pixels at a time. Each becomes 32 bits wide, of which each channel takes its eight.
template <int C, class T>
AVX512 void normalize_planar(const std::uint8_t* in, std::ptrdiff_t pixels,
                             const Normalization& normalization, T* out, std::ptrdiff_t plane) {
  alignas(64) std::uint8_t widen[64];
  for (int i = 0; i < 64; ++i) widen[i] = static_cast<std::uint8_t>(C * (i / 4) + i % 4);
  const __m512i widening = _mm512_load_si512(widen);
  const __m512i low_byte = _mm512_set1_epi32(0xff);
  __m512 scale[C];
  __m512 bias[C];
  for (int c = 0; c < C; ++c) {
    scale[c] = _mm512_set1_ps(normalization.scale[c]);
    bias[c] = _mm512_set1_ps(normalization.bias[c]);
  }
  for (std::ptrdiff_t x = 0; x < pixels; x += 16) {
    const unsigned count = pixels - x < 16 ? static_cast<unsigned>(pixels - x) : 16;
    const __m512i bytes = _mm512_maskz_loadu_epi8(_bzhi_u64(~0ULL, C * count), in + C * x);
    const __m512i wide = _mm512_permutexvar_epi8(widening, bytes);
    const auto mask = static_cast<__mmask16>(_bzhi_u32(0xffff, count));
    for (int c = 0; c < C; ++c) {
      const __m512i channel =
          _mm512_and_si512(_mm512_srl_epi32(wide, _mm_cvtsi32_si128(8 * c)), low_byte);
      store(out + c * plane + x, mask, to_float(channel, scale[c], bias[c]));
    }
  }
}

// Thirty-two samples, by the processor's own rounding, which is to even as well. It takes what is
// too small for a normal float32 for 0.
__attribute__((target("avx512f,avx512bw,avx512vl,avx512bf16"))) void normalize_bf16(
    const std::uint8_t* in, std::ptrdiff_t samples, const Normalization& normalization,
    std::uint16_t* out) {
  constexpr int kVectors = kPattern / 16;
  __m512 scale[kVectors];
  __m512 bias[kVectors];
  for (int i = 0; i < kVectors; ++i) {
    scale[i] = _mm512_loadu_ps(normalization.scale + 16 * i);
    bias[i] = _mm512_loadu_ps(normalization.bias + 16 * i);
  }
  for (std::ptrdiff_t s = 0; s < samples; s += 2 * kPattern) {
    __m512 value[2 * kVectors];
    for (int i = 0; i < 2 * kVectors; ++i) {
      const auto* from = reinterpret_cast<const __m128i*>(in + s + 16 * i);
      const __m512 wide = _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_loadu_si128(from)));
      value[i] = _mm512_fmadd_ps(wide, scale[i % kVectors], bias[i % kVectors]);
    }
    for (int i = 0; i < kVectors; ++i) {
      const __m512bh halves = _mm512_cvtne2ps_pbh(value[2 * i + 1], value[2 * i]);
      std::memcpy(out + s + 32 * i, &halves, sizeof halves);
    }
  }
}

bool has_bf16() {
  static const bool found = __builtin_cpu_supports("avx512bf16");
  return found;
}

// Whether a value is either 0 or a normal float32, whatever the byte.
bool stays_normal(const Normalization& normalization) {
  constexpr float kLeast = 1e-30F;
  for (int i = 0; i < kPattern; ++i) {
    const float bias = std::fabs(normalization.bias[i]);
    if (!(std::fabs(normalization.scale[i]) >= kLeast) || (bias != 0 && !(bias >= kLeast)))
      return false;
  }
  return true;
}

// How many samples, from the first, are done by something faster.
std::ptrdiff_t normalize_quickly(const std::uint8_t*, std::ptrdiff_t, const Normalization&,
                                 float*) {
  return 0;
}

std::ptrdiff_t normalize_quickly(const std::uint8_t* in, std::ptrdiff_t samples,
                                 const Normalization& normalization, std::uint16_t* out) {
  if (!has_bf16() || samples < 2 * kPattern || !stays_normal(normalization)) return 0;
  const std::ptrdiff_t done = samples / (2 * kPattern) * (2 * kPattern);
  normalize_bf16(in, done, normalization, out);
  return done;
}

// Sixteen samples at a time, whatever their channels: the tables repeat those.
template <class T>
AVX512 void normalize_interleaved(const std::uint8_t* in, std::ptrdiff_t samples,
                                  const Normalization& normalization, T* out) {
  const std::ptrdiff_t done = normalize_quickly(in, samples, normalization, out);
  for (std::ptrdiff_t s = done; s < samples; s += kPattern) {
    for (int i = 0; i < kPattern && s + i < samples; i += 16) {
      const std::ptrdiff_t left = samples - s - i;
      const unsigned count = left < 16 ? static_cast<unsigned>(left) : 16;
      const auto mask = static_cast<__mmask16>(_bzhi_u32(0xffff, count));
      const __m512i bytes = _mm512_cvtepu8_epi32(_mm_maskz_loadu_epi8(mask, in + s + i));
      store(out + s + i, mask,
            to_float(bytes, _mm512_loadu_ps(normalization.scale + i),
                     _mm512_loadu_ps(normalization.bias + i)));
    }
  }
}

template <class T>
void normalize_to(const std::uint8_t* in, std::ptrdiff_t pixels, const Normalization& normalization,
                  const Destination& out) {
  T* data = static_cast<T*>(out.data);
  if (out.layout == Layout::nhwc || normalization.channels == 1) {
    normalize_interleaved(in, pixels * normalization.channels, normalization, data);
  } else if (normalization.channels == 3) {
    normalize_planar<3>(in, pixels, normalization, data, out.plane);
  } else {
    normalize_planar<4>(in, pixels, normalization, data, out.plane);
  }
}

}  // namespace

const Kernels kAvx512Kernels = {"avx512",
                                supported,
                                split,
                                horizontal,
                                vertical,
                                normalize_to<float>,
                                normalize_to<std::uint16_t>,
                                pack_avx512};

}  // namespace falconet

#endif

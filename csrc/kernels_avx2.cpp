// The kernels for AVX2 with FMA (Haswell, Zen and later).
//
// The multiplication at hand takes 16-bit numbers, in pairs whose products it adds to a 32-bit sum.
// Pixels are widened to 16 bits; weights, of up to 24 bits, are split into two halves (halves.h).

#if defined(__x86_64__)

#include <immintrin.h>

#include <cstring>

#include "halves.h"
#include "kernels.h"

#define AVX2 __attribute__((target("avx2,fma")))

namespace falconet {
namespace {

bool supported() {
  return __builtin_cpu_supports("avx2") != 0 && __builtin_cpu_supports("fma") != 0;
}

// Two partial sums to one, rounded and shifted to a pixel that is still to be clipped.
AVX2 inline __m256i combine(__m256i high, __m256i low, __m256i half, __m128i precision) {
  const __m256i sum = _mm256_add_epi32(_mm256_slli_epi32(high, 8), _mm256_add_epi32(low, half));
  return _mm256_sra_epi32(sum, precision);
}

AVX2 inline __m256i add_products(__m256i sum, __m256i pixels, __m256i weights) {
  return _mm256_add_epi32(sum, _mm256_madd_epi16(pixels, weights));
}

AVX2 inline __m128i load16(const std::uint8_t* place) {
  return _mm_loadu_si128(reinterpret_cast<const __m128i*>(place));
}

// Two output pixels at a time, one in each 128-bit lane, in four rows at a time, which share the
// loading of the weights. A lane loads four successive input pixels from its own place and sorts
// them by channel, as 16-bit numbers: taps 0 and 1 of each channel, then taps 2 and 3.
template <int C>
AVX2 void horizontal_rows(const std::uint8_t* const in[4], const Upcoming& next, int left,
                          const Axis& axis, std::uint8_t* const out[4]) {
  alignas(16) std::int8_t taps01[16];
  alignas(16) std::int8_t taps23[16];
  alignas(16) std::int8_t closer[16] = {};
  for (int c = 0; c < 4; ++c) {
    for (int i = 0; i < 4; ++i) {
      const bool used = c < C && i % 2 == 0;
      taps01[4 * c + i] = static_cast<std::int8_t>(used ? (i / 2) * C + c : -1);
      taps23[4 * c + i] = static_cast<std::int8_t>(used ? (i / 2 + 2) * C + c : -1);
    }
  }
  for (int i = 0; i < 2 * C; ++i) {
    closer[i] = static_cast<std::int8_t>(4 * (i / C) + i % C);
    closer[8 + i] = static_cast<std::int8_t>(8 + closer[i]);
  }
  const __m256i sort01 = _mm256_broadcastsi128_si256(*reinterpret_cast<__m128i*>(taps01));
  const __m256i sort23 = _mm256_broadcastsi128_si256(*reinterpret_cast<__m128i*>(taps23));
  const __m128i close_up = *reinterpret_cast<__m128i*>(closer);
  const __m256i half = _mm256_set1_epi32(1 << (axis.precision - 1));
  const __m128i precision = _mm_cvtsi32_si128(axis.precision);

  constexpr int kBlock = 16;
  for (int x = 0; x < axis.size; x += 2) {
    const std::ptrdiff_t at0 = static_cast<std::ptrdiff_t>(axis.first[x] - left) * C;
    const std::ptrdiff_t at1 = static_cast<std::ptrdiff_t>(axis.first[x + 1] - left) * C;
    if (x % kBlock == 0) {
      const int last = x + kBlock < axis.size ? x + kBlock : axis.size - 1;
      prefetch(next, axis.first[x] - left, axis.first[last] - left);
    }
    __m256i high[4];
    __m256i low[4];
    for (int r = 0; r < 4; ++r) high[r] = low[r] = _mm256_setzero_si256();
    for (int g = 0; g < axis.groups; ++g) {
      const __m256i weights =
          _mm256_loadu_si256(reinterpret_cast<const __m256i*>(&axis.group(x, g)));
      const __m256i high01 = _mm256_shuffle_epi32(weights, 0x00);
      const __m256i high23 = _mm256_shuffle_epi32(weights, 0x55);
      const __m256i low01 = _mm256_shuffle_epi32(weights, 0xaa);
      const __m256i low23 = _mm256_shuffle_epi32(weights, 0xff);
      for (int r = 0; r < 4; ++r) {
        const std::uint8_t* row = in[r] + static_cast<std::ptrdiff_t>(4 * C) * g;
        const __m256i pixels = _mm256_inserti128_si256(_mm256_castsi128_si256(load16(row + at0)),
                                                       load16(row + at1), 1);
        const __m256i pixels01 = _mm256_shuffle_epi8(pixels, sort01);
        const __m256i pixels23 = _mm256_shuffle_epi8(pixels, sort23);
        high[r] = add_products(add_products(high[r], pixels01, high01), pixels23, high23);
        low[r] = add_products(add_products(low[r], pixels01, low01), pixels23, low23);
      }
    }
    // Packing clips to bytes: a lane is then one pixel in four rows.
    __m256i value[4];
    for (int r = 0; r < 4; ++r) value[r] = combine(high[r], low[r], half, precision);
    const __m256i rows = _mm256_packus_epi16(_mm256_packs_epi32(value[0], value[1]),
                                             _mm256_packs_epi32(value[2], value[3]));
    const __m128i pixel0 = _mm256_castsi256_si128(rows);
    const __m128i pixel1 = _mm256_extracti128_si256(rows, 1);
    const __m128i rows01 = _mm_shuffle_epi8(_mm_unpacklo_epi32(pixel0, pixel1), close_up);
    const __m128i rows23 = _mm_shuffle_epi8(_mm_unpackhi_epi32(pixel0, pixel1), close_up);
    _mm_storel_epi64(reinterpret_cast<__m128i*>(out[0] + x * C), rows01);
    _mm_storel_epi64(reinterpret_cast<__m128i*>(out[1] + x * C),
                     _mm_unpackhi_epi64(rows01, rows01));
    _mm_storel_epi64(reinterpret_cast<__m128i*>(out[2] + x * C), rows23);
    _mm_storel_epi64(reinterpret_cast<__m128i*>(out[3] + x * C),
                     _mm_unpackhi_epi64(rows23, rows23));
  }
}

void horizontal(const std::uint8_t* const in[4], const Upcoming& next, int left, int channels,
                const Axis& axis, std::uint8_t* const out[4]) {
  const auto rows_function = channels == 1   ? horizontal_rows<1>
                             : channels == 3 ? horizontal_rows<3>
                                             : horizontal_rows<4>;
  rows_function(in, next, left, axis, out);
}

// 32 samples, from two rows at a time, woven so that the two taps of a sample are neighbors.
// Weaving and packing work within 128-bit lanes, and the one undoes the other's order.
AVX2 void vertical_block(const std::uint8_t* const* taps, std::ptrdiff_t at, const Axis& axis,
                         int output, std::uint8_t* out) {
  const __m256i zero = _mm256_setzero_si256();
  __m256i high[4] = {zero, zero, zero, zero};
  __m256i low[4] = {zero, zero, zero, zero};
  for (int g = 0; g < axis.groups; ++g) {
    std::int32_t pairs[4];  // the weights' halves: high 0 and 1, high 2 and 3, low 0 and 1, ...
    std::memcpy(pairs, axis.group(output, g).bytes, sizeof pairs);
    for (int pair = 0; pair < 2; ++pair) {
      const std::uint8_t* const* rows = taps + 4 * g + 2 * pair;
      const __m256i row0 = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(rows[0] + at));
      const __m256i row1 = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(rows[1] + at));
      const __m256i first = _mm256_unpacklo_epi8(row0, row1);
      const __m256i second = _mm256_unpackhi_epi8(row0, row1);
      // As 16-bit numbers, of which neighbors are the same sample's of two rows.
      const __m256i woven[4] = {
          _mm256_unpacklo_epi8(first, zero), _mm256_unpackhi_epi8(first, zero),
          _mm256_unpacklo_epi8(second, zero), _mm256_unpackhi_epi8(second, zero)};
      const __m256i high_weights = _mm256_set1_epi32(pairs[pair]);
      const __m256i low_weights = _mm256_set1_epi32(pairs[2 + pair]);
      for (int q = 0; q < 4; ++q) {
        high[q] = add_products(high[q], woven[q], high_weights);
        low[q] = add_products(low[q], woven[q], low_weights);
      }
    }
  }
  const __m256i half = _mm256_set1_epi32(1 << (axis.precision - 1));
  const __m128i precision = _mm_cvtsi32_si128(axis.precision);
  __m256i value[4];
  for (int q = 0; q < 4; ++q) value[q] = combine(high[q], low[q], half, precision);
  const __m256i bytes = _mm256_packus_epi16(_mm256_packs_epi32(value[0], value[1]),
                                            _mm256_packs_epi32(value[2], value[3]));
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(out), bytes);
}

// A row's last block overlaps the one before it, so that nothing is read or written past the end.
void vertical(const std::uint8_t* const* taps, const Axis& axis, int output, std::ptrdiff_t samples,
              std::uint8_t* out) {
  if (samples < 32) return vertical_few(taps, axis, output, samples, out);
  for (std::ptrdiff_t s = 0; s < samples; s += 32) {
    const std::ptrdiff_t at = s + 32 <= samples ? s : samples - 32;
    vertical_block(taps, at, axis, output, out + at);
  }
}

AVX2 inline void store(float* out, __m256 values) { _mm256_storeu_ps(out, values); }

AVX2 inline void store(std::uint16_t* out, __m256 values) {
  const __m256i bits = _mm256_castps_si256(values);
  const __m256i odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
  const __m256i rounded = _mm256_add_epi32(_mm256_add_epi32(bits, _mm256_set1_epi32(0x7fff)), odd);
  const __m256i high = _mm256_srli_epi32(rounded, 16);
  const __m256i packed = _mm256_packus_epi32(high, high);
  _mm_storeu_si128(reinterpret_cast<__m128i*>(out),
                   _mm256_castsi256_si128(_mm256_permute4x64_epi64(packed, 0x08)));
}

AVX2 inline __m256 to_float(__m256i bytes, __m256 scale, __m256 bias) {
  return _mm256_fmadd_ps(_mm256_cvtepi32_ps(bytes), scale, bias);
}

// Eight pixels, each widened to 32 bits.
template <int C>
AVX2 inline __m256i load_pixels(const std::uint8_t* in) {
  if (C == 4) return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(in));
  // 24 bytes: pixels 0 to 3 from the first sixteen, 4 to 7 from the last sixteen.
  const __m128i low = _mm_setr_epi8(0, 1, 2, -1, 3, 4, 5, -1, 6, 7, 8, -1, 9, 10, 11, -1);
  const __m128i high = _mm_setr_epi8(4, 5, 6, -1, 7, 8, 9, -1, 10, 11, 12, -1, 13, 14, 15, -1);
  return _mm256_inserti128_si256(_mm256_castsi128_si256(_mm_shuffle_epi8(load16(in), low)),
                                 _mm_shuffle_epi8(load16(in + 8), high), 1);
}

// Eight pixels at a time, of which each channel takes its eight bits. Returns how many are done.
template <int C, class T>
AVX2 std::ptrdiff_t normalize_planar(const std::uint8_t* in, std::ptrdiff_t pixels,
                                     const Normalization& normalization, T* out,
                                     std::ptrdiff_t plane) {
  const __m256i low_byte = _mm256_set1_epi32(0xff);
  __m256 scale[C];
  __m256 bias[C];
  for (int c = 0; c < C; ++c) {
    scale[c] = _mm256_set1_ps(normalization.scale[c]);
    bias[c] = _mm256_set1_ps(normalization.bias[c]);
  }
  std::ptrdiff_t x = 0;
  for (; x + 8 <= pixels; x += 8) {
    const __m256i wide = load_pixels<C>(in + C * x);
    for (int c = 0; c < C; ++c) {
      const __m256i channel =
          _mm256_and_si256(_mm256_srl_epi32(wide, _mm_cvtsi32_si128(8 * c)), low_byte);
      store(out + c * plane + x, to_float(channel, scale[c], bias[c]));
    }
  }
  return x;
}

// Eight samples at a time, whatever their channels: the tables repeat those. Returns how many are
// done.
template <class T>
AVX2 std::ptrdiff_t normalize_interleaved(const std::uint8_t* in, std::ptrdiff_t samples,
                                          const Normalization& normalization, T* out) {
  std::ptrdiff_t s = 0;
  for (int i = 0; s + 8 <= samples; s += 8, i = (i + 8) % kPattern) {
    const __m256i bytes =
        _mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(in + s)));
    store(out + s, to_float(bytes, _mm256_loadu_ps(normalization.scale + i),
                            _mm256_loadu_ps(normalization.bias + i)));
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

const Kernels kAvx2Kernels = {
    "avx2",   supported,           split_into_halves,           horizontal,
    vertical, normalize_to<float>, normalize_to<std::uint16_t>, pack_avx2};

}  // namespace falconet

#endif

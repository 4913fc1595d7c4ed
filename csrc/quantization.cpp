#include "quantization.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace falconet {
namespace {

float float_of(float value) { return value; }

float float_of(std::uint16_t bits) {
  const std::uint32_t wide = std::uint32_t{bits} << 16;
  float value;
  std::memcpy(&value, &wide, sizeof value);
  return value;
}

void store(float value, float* out) { *out = value; }

// To the nearest, ties to even.
void store(float value, std::uint16_t* out) {
  std::uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  *out = static_cast<std::uint16_t>((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}

template <typename Value>
void quantize_scalar(const Value* in, std::ptrdiff_t count, Quantized to, std::uint8_t* out) {
  const float inverse = 1.0F / to.scale;
  for (std::ptrdiff_t i = 0; i < count; ++i) {
    const float value = std::nearbyint(float_of(in[i]) * inverse) + static_cast<float>(to.zero);
    // Written so that a NaN is 0.
    out[i] = value > 0 ? static_cast<std::uint8_t>(std::min(value, 255.0F)) : 0;
  }
}

template <typename Value>
void dequantize_scalar(const std::uint8_t* in, std::ptrdiff_t count, Quantized from, Value* out) {
  for (std::ptrdiff_t i = 0; i < count; ++i)
    store(static_cast<float>(in[i] - from.zero) * from.scale, out + i);
}

void largest_scalar(const std::uint8_t* in, std::ptrdiff_t count, std::uint8_t* out) {
  for (std::ptrdiff_t i = 0; i < count; ++i) out[i] = std::max(out[i], in[i]);
}

#if defined(__x86_64__)
// GCC 12 takes its own intrinsics' undefined operands for ours (its bug 105593).
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#pragma GCC diagnostic ignored "-Wuninitialized"
#endif

#define FALCONET_AVX512 __attribute__((target("avx512f,avx512bw,avx512vl")))

constexpr std::ptrdiff_t kLanes = 16;

bool has_avx512() {
  static const bool found = __builtin_cpu_supports("avx512f") &&
                            __builtin_cpu_supports("avx512bw") &&
                            __builtin_cpu_supports("avx512vl");
  return found;
}

FALCONET_AVX512 __m512 load(const float* in) { return _mm512_loadu_ps(in); }

FALCONET_AVX512 __m512 load(const std::uint16_t* in) {
  const __m512i bits =
      _mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(in)));
  return _mm512_castsi512_ps(_mm512_slli_epi32(bits, 16));
}

FALCONET_AVX512 void store(__m512 values, float* out) { _mm512_storeu_ps(out, values); }

FALCONET_AVX512 void store(__m512 values, std::uint16_t* out) {
  const __m512i bits = _mm512_castps_si512(values);
  const __m512i even = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
  const __m512i rounded = _mm512_add_epi32(_mm512_add_epi32(bits, _mm512_set1_epi32(0x7fff)), even);
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(out),
                      _mm512_cvtepi32_epi16(_mm512_srli_epi32(rounded, 16)));
}

template <typename Value>
FALCONET_AVX512 void quantize_avx512(const Value* in, std::ptrdiff_t count, Quantized to,
                                     std::uint8_t* out) {
  const __m512 inverse = _mm512_set1_ps(1.0F / to.scale);
  const __m512i zero = _mm512_set1_epi32(to.zero);
  // Beyond these nothing changes, and the integers cannot overflow. A NaN becomes the first one.
  const __m512 least = _mm512_set1_ps(-512.0F), most = _mm512_set1_ps(512.0F);
  std::ptrdiff_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    const __m512 scaled = _mm512_mul_ps(load(in + i), inverse);
    const __m512 held = _mm512_min_ps(_mm512_max_ps(scaled, least), most);
    const __m512i number = _mm512_add_epi32(_mm512_cvtps_epi32(held), zero);
    _mm_storeu_si128(reinterpret_cast<__m128i*>(out + i),
                     _mm512_cvtusepi32_epi8(_mm512_max_epi32(number, _mm512_setzero_si512())));
  }
  quantize_scalar(in + i, count - i, to, out + i);
}

template <typename Value>
FALCONET_AVX512 void dequantize_avx512(const std::uint8_t* in, std::ptrdiff_t count, Quantized from,
                                       Value* out) {
  const __m512 scale = _mm512_set1_ps(from.scale);
  const __m512i zero = _mm512_set1_epi32(from.zero);
  std::ptrdiff_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(in + i));
    const __m512i number = _mm512_sub_epi32(_mm512_cvtepu8_epi32(bytes), zero);
    store(_mm512_mul_ps(_mm512_cvtepi32_ps(number), scale), out + i);
  }
  dequantize_scalar(in + i, count - i, from, out + i);
}

FALCONET_AVX512 void largest_avx512(const std::uint8_t* in, std::ptrdiff_t count,
                                    std::uint8_t* out) {
  for (std::ptrdiff_t i = 0; i < count; i += 64) {
    const std::ptrdiff_t left = std::min<std::ptrdiff_t>(64, count - i);
    const __mmask64 mask = ~std::uint64_t{0} >> (64 - left);
    const __m512i largest = _mm512_max_epu8(_mm512_maskz_loadu_epi8(mask, in + i),
                                            _mm512_maskz_loadu_epi8(mask, out + i));
    _mm512_mask_storeu_epi8(out + i, mask, largest);
  }
}
#else
bool has_avx512() { return false; }
#endif

template <typename Value>
void quantize_any(const Value* in, std::ptrdiff_t count, Quantized to, std::uint8_t* out) {
#if defined(__x86_64__)
  if (has_avx512()) return quantize_avx512(in, count, to, out);
#endif
  quantize_scalar(in, count, to, out);
}

template <typename Value>
void dequantize_any(const std::uint8_t* in, std::ptrdiff_t count, Quantized from, Value* out) {
#if defined(__x86_64__)
  if (has_avx512()) return dequantize_avx512(in, count, from, out);
#endif
  dequantize_scalar(in, count, from, out);
}

void largest(const std::uint8_t* in, std::ptrdiff_t count, std::uint8_t* out) {
#if defined(__x86_64__)
  if (has_avx512()) return largest_avx512(in, count, out);
#endif
  largest_scalar(in, count, out);
}

}  // namespace

void quantize(const float* in, std::ptrdiff_t count, Quantized to, std::uint8_t* out) {
  quantize_any(in, count, to, out);
}

void quantize(const std::uint16_t* in, std::ptrdiff_t count, Quantized to, std::uint8_t* out) {
  quantize_any(in, count, to, out);
}

void dequantize(const std::uint8_t* in, std::ptrdiff_t count, Quantized from, float* out) {
  dequantize_any(in, count, from, out);
}

void dequantize(const std::uint8_t* in, std::ptrdiff_t count, Quantized from, std::uint16_t* out) {
  dequantize_any(in, count, from, out);
}

void max_pool(const std::uint8_t* in, const MaxPool& pool, std::uint8_t* out) {
  const std::ptrdiff_t row = pool.width * pool.channels;
  for (std::ptrdiff_t n = 0; n < pool.batch; ++n, in += pool.height * row) {
    for (std::ptrdiff_t y = 0; y < pool.out_height; ++y) {
      const std::ptrdiff_t top = y * pool.stride_height - pool.padding_height;
      const std::ptrdiff_t above = std::max<std::ptrdiff_t>(top, 0);
      const std::ptrdiff_t below = std::min(top + pool.window_height, pool.height);
      for (std::ptrdiff_t x = 0; x < pool.out_width; ++x, out += pool.channels) {
        const std::ptrdiff_t start = x * pool.stride_width - pool.padding_width;
        const std::ptrdiff_t left = std::max<std::ptrdiff_t>(start, 0);
        const std::ptrdiff_t right = std::min(start + pool.window_width, pool.width);
        std::memset(out, 0, static_cast<std::size_t>(pool.channels));
        for (std::ptrdiff_t i = above; i < below; ++i)
          for (std::ptrdiff_t j = left; j < right; ++j)
            largest(in + i * row + j * pool.channels, pool.channels, out);
      }
    }
  }
}

}  // namespace falconet

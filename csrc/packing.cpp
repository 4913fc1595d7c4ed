#include "packing.h"

#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
// GCC 12 takes its own intrinsics' undefined operands for ours (its bug 105593).
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#pragma GCC diagnostic ignored "-Wuninitialized"
#endif

#define AVX2 __attribute__((target("avx2")))
#define AVX512 __attribute__((target("avx512f,avx512bw,avx512vl,avx512vbmi,bmi2")))

namespace falconet {
namespace {

template <int C>
void pack_channels(const std::uint8_t* in, std::ptrdiff_t pixels, const Spread& spread,
                   std::uint8_t* out) {
  for (std::ptrdiff_t x = 0; x < pixels; ++x) {
    for (int c = 0; c < C; ++c) out[C * x + c] = in[c * spread.channel_stride];
    in += spread.pixel_stride;
  }
}

// What is left of a row when `done` pixels are packed.
void pack_rest(const std::uint8_t* in, std::ptrdiff_t done, std::ptrdiff_t pixels,
               const Spread& spread, std::uint8_t* out) {
  pack_scalar(in + done * spread.pixel_stride, pixels - done, spread, out + done * spread.channels);
}

// How many bytes of an interleaved row there are to read, from the lowest on.
std::ptrdiff_t readable(std::ptrdiff_t pixels, const Spread& spread) {
  return (pixels - 1) * spread.pixel_stride + spread.channels;
}

}  // namespace

void pack_scalar(const std::uint8_t* in, std::ptrdiff_t pixels, const Spread& spread,
                 std::uint8_t* out) {
  const auto pack = spread.channels == 1   ? pack_channels<1>
                    : spread.channels == 3 ? pack_channels<3>
                                           : pack_channels<4>;
  pack(in, pixels, spread, out);
}

#if defined(__x86_64__)

namespace {

// Where in loaded bytes of an interleaved row each packed one lies.
struct Order {
  alignas(64) std::uint8_t at[64];
};

constexpr Order order_of(int channels, int step, bool reversed) {
  Order order = {};
  for (int i = 0; i < 64; ++i) {
    const int place = reversed ? channels - 1 - i % channels : i % channels;
    order.at[i] = static_cast<std::uint8_t>(i / channels * step + place);
  }
  return order;
}

constexpr Order kOfThree[2][2] = {{order_of(3, 3, false), order_of(3, 3, true)},
                                  {order_of(3, 4, false), order_of(3, 4, true)}};
constexpr Order kOfFour[2] = {order_of(4, 4, false), order_of(4, 4, true)};

const std::uint8_t* order_of(const Spread& spread) {
  const bool reversed = spread.channel_stride < 0;
  if (spread.channels == 4) return kOfFour[reversed].at;
  return kOfThree[spread.pixel_stride == 4][reversed].at;
}

// By vector of packed bytes, of the colors of four-byte pixels: where in two loaded vectors each
// lies, the one of the same number and the next.
struct Colors {
  alignas(64) std::uint8_t at[3][64];
};

constexpr Colors colors(bool reversed) {
  Colors order = {};
  for (int i = 0; i < 192; ++i) {
    const int place = reversed ? 2 - i % 3 : i % 3;
    order.at[i / 64][i % 64] = static_cast<std::uint8_t>(i / 3 * 4 + place - i / 64 * 64);
  }
  return order;
}

constexpr Colors kColors[2] = {colors(false), colors(true)};

// By vector of packed bytes, and plane: where in the loaded bytes of that plane each lies, if it is
// of it.
struct ThreePlanes {
  alignas(16) std::uint8_t at[3][3][16];
};

constexpr ThreePlanes three_planes() {
  ThreePlanes order = {};
  for (int i = 0; i < 48; ++i) {
    for (int c = 0; c < 3; ++c) {
      order.at[i / 16][c][i % 16] = i % 3 == c ? static_cast<std::uint8_t>(i / 3) : 0x80;
    }
  }
  return order;
}

constexpr ThreePlanes kThreePlanes = three_planes();

// By vector of packed bytes: where in two loaded planes each lies, and which bytes are not of
// channels 0 and 1.
template <int C>
struct Planes {
  alignas(64) std::uint8_t at[C][64];
  std::uint64_t others[C];
};

template <int C>
constexpr Planes<C> planes_of() {
  Planes<C> order = {};
  for (int i = 0; i < 64 * C; ++i) {
    const int channel = i % C;
    order.at[i / 64][i % 64] = static_cast<std::uint8_t>(i / C + (channel % 2 == 1 ? 64 : 0));
    if (channel >= 2) order.others[i / 64] |= std::uint64_t{1} << (i % 64);
  }
  return order;
}

template <int C>
constexpr Planes<C> kPlanes = planes_of<C>();

AVX2 __m128i load16(const std::uint8_t* place) {
  return _mm_loadu_si128(reinterpret_cast<const __m128i*>(place));
}

AVX2 __m256i load32(const std::uint8_t* place) {
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(place));
}

AVX2 void store16(std::uint8_t* place, __m128i bytes) {
  _mm_storeu_si128(reinterpret_cast<__m128i*>(place), bytes);
}

// The colors of eight pixels of four bytes at a time, packed within each lane, then across.
AVX2 std::ptrdiff_t pack_colors(const std::uint8_t* in, std::ptrdiff_t pixels, const Spread& spread,
                                std::uint8_t* out) {
  const __m256i order = _mm256_broadcastsi128_si256(load16(order_of(spread)));
  const __m256i together = _mm256_setr_epi32(0, 1, 2, 4, 5, 6, 3, 7);
  const std::ptrdiff_t end = readable(pixels, spread) - 32;
  const std::uint8_t* const lowest = in + spread.lowest();
  std::ptrdiff_t x = 0;
  for (; 4 * x <= end; x += 8) {
    const __m256i packed = _mm256_shuffle_epi8(load32(lowest + 4 * x), order);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(out + 3 * x),
                        _mm256_permutevar8x32_epi32(packed, together));
  }
  return x;
}

// As many pixels at a time as 16 bytes hold whole.
AVX2 std::ptrdiff_t pack_interleaved(const std::uint8_t* in, std::ptrdiff_t pixels,
                                     const Spread& spread, std::uint8_t* out) {
  const __m128i order = load16(order_of(spread));
  const std::ptrdiff_t at_a_time = 16 / spread.pixel_stride;
  const std::ptrdiff_t end = readable(pixels, spread) - 16;
  const std::uint8_t* const lowest = in + spread.lowest();
  std::ptrdiff_t x = 0;
  for (; x * spread.pixel_stride <= end && x + at_a_time <= pixels; x += at_a_time) {
    store16(out + x * spread.channels,
            _mm_shuffle_epi8(load16(lowest + x * spread.pixel_stride), order));
  }
  return x;
}

// 16 pixels in each of two lanes at a time.
AVX2 std::ptrdiff_t pack_three_planes(const std::uint8_t* in, std::ptrdiff_t pixels,
                                      std::ptrdiff_t plane, std::uint8_t* out) {
  std::ptrdiff_t x = 0;
  for (; x + 32 <= pixels; x += 32) {
    for (int v = 0; v < 3; ++v) {
      __m256i packed = _mm256_setzero_si256();
      for (int c = 0; c < 3; ++c) {
        const __m256i order = _mm256_broadcastsi128_si256(load16(kThreePlanes.at[v][c]));
        packed = _mm256_or_si256(packed, _mm256_shuffle_epi8(load32(in + c * plane + x), order));
      }
      store16(out + 3 * x + 16 * v, _mm256_castsi256_si128(packed));
      store16(out + 3 * x + 48 + 16 * v, _mm256_extracti128_si256(packed, 1));
    }
  }
  return x;
}

AVX2 std::ptrdiff_t pack_four_planes(const std::uint8_t* in, std::ptrdiff_t pixels,
                                     std::ptrdiff_t plane, std::uint8_t* out) {
  std::ptrdiff_t x = 0;
  for (; x + 16 <= pixels; x += 16) {
    const __m128i a = load16(in + x);
    const __m128i b = load16(in + plane + x);
    const __m128i c = load16(in + 2 * plane + x);
    const __m128i d = load16(in + 3 * plane + x);
    const __m128i low_ab = _mm_unpacklo_epi8(a, b);
    const __m128i high_ab = _mm_unpackhi_epi8(a, b);
    const __m128i low_cd = _mm_unpacklo_epi8(c, d);
    const __m128i high_cd = _mm_unpackhi_epi8(c, d);
    store16(out + 4 * x, _mm_unpacklo_epi16(low_ab, low_cd));
    store16(out + 4 * x + 16, _mm_unpackhi_epi16(low_ab, low_cd));
    store16(out + 4 * x + 32, _mm_unpacklo_epi16(high_ab, high_cd));
    store16(out + 4 * x + 48, _mm_unpackhi_epi16(high_ab, high_cd));
  }
  return x;
}

// 64 pixels at a time, of four bytes: each vector of packed bytes is of two loaded ones.
AVX512 std::ptrdiff_t pack_colors_512(const std::uint8_t* lowest, std::ptrdiff_t pixels,
                                      bool reversed, std::uint8_t* out) {
  __m512i order[3];
  for (int v = 0; v < 3; ++v) order[v] = _mm512_load_si512(kColors[reversed].at[v]);
  std::ptrdiff_t x = 0;
  for (; x + 64 < pixels; x += 64) {
    __m512i bytes[4];
    for (int i = 0; i < 4; ++i) bytes[i] = _mm512_loadu_si512(lowest + 4 * x + 64 * i);
    for (int v = 0; v < 3; ++v) {
      _mm512_storeu_si512(out + 3 * x + 64 * v,
                          _mm512_permutex2var_epi8(bytes[v], order[v], bytes[v + 1]));
    }
  }
  return x;
}

// As many pixels at a time as 64 bytes hold whole.
AVX512 void pack_interleaved_512(const std::uint8_t* in, std::ptrdiff_t pixels,
                                 const Spread& spread, std::uint8_t* out) {
  const __m512i order = _mm512_load_si512(order_of(spread));
  const std::ptrdiff_t at_a_time = 64 / spread.pixel_stride;
  const std::uint8_t* const lowest = in + spread.lowest();
  std::ptrdiff_t x = 0;
  if (spread.channels == 3 && spread.pixel_stride == 4) {
    x = pack_colors_512(lowest, pixels, spread.channel_stride < 0, out);
  }
  for (; x < pixels; x += at_a_time) {
    const std::ptrdiff_t count = pixels - x < at_a_time ? pixels - x : at_a_time;
    const __mmask64 read = _bzhi_u64(~0ULL, static_cast<unsigned>(readable(count, spread)));
    const __mmask64 written = _bzhi_u64(~0ULL, static_cast<unsigned>(count * spread.channels));
    const __m512i bytes = _mm512_maskz_loadu_epi8(read, lowest + x * spread.pixel_stride);
    _mm512_mask_storeu_epi8(out + x * spread.channels, written,
                            _mm512_permutexvar_epi8(order, bytes));
  }
}

// 64 pixels at a time. A vector of packed bytes is put together from two planes, and from the
// others.
template <int C>
AVX512 void pack_planes_512(const std::uint8_t* in, std::ptrdiff_t pixels, std::ptrdiff_t plane,
                            std::uint8_t* out) {
  for (std::ptrdiff_t x = 0; x < pixels; x += 64) {
    const std::ptrdiff_t count = pixels - x < 64 ? pixels - x : 64;
    const __mmask64 read = _bzhi_u64(~0ULL, static_cast<unsigned>(count));
    __m512i planes[C];
    for (int c = 0; c < C; ++c) planes[c] = _mm512_maskz_loadu_epi8(read, in + c * plane + x);
    for (int v = 0; v < C && 64 * v < C * count; ++v) {
      const __m512i order = _mm512_load_si512(kPlanes<C>.at[v]);
      const __m512i two = _mm512_permutex2var_epi8(planes[0], order, planes[1]);
      const __m512i others = _mm512_permutex2var_epi8(planes[2], order, planes[C - 1]);
      const auto left = static_cast<unsigned>(C * count - 64 * v);
      _mm512_mask_storeu_epi8(out + C * x + 64 * v, _bzhi_u64(~0ULL, left < 64 ? left : 64),
                              _mm512_mask_blend_epi8(kPlanes<C>.others[v], two, others));
    }
  }
}

}  // namespace

void pack_avx2(const std::uint8_t* in, std::ptrdiff_t pixels, const Spread& spread,
               std::uint8_t* out) {
  std::ptrdiff_t done = 0;
  if (spread.interleaved() && spread.channels == 3 && spread.pixel_stride == 4) {
    done = pack_colors(in, pixels, spread, out);
  } else if (spread.interleaved()) {
    done = pack_interleaved(in, pixels, spread, out);
  } else if (spread.planar() && spread.channels == 3) {
    done = pack_three_planes(in, pixels, spread.channel_stride, out);
  } else if (spread.planar()) {
    done = pack_four_planes(in, pixels, spread.channel_stride, out);
  }
  pack_rest(in, done, pixels, spread, out);
}

void pack_avx512(const std::uint8_t* in, std::ptrdiff_t pixels, const Spread& spread,
                 std::uint8_t* out) {
  if (spread.interleaved()) return pack_interleaved_512(in, pixels, spread, out);
  if (!spread.planar()) return pack_scalar(in, pixels, spread, out);
  const auto pack = spread.channels == 3 ? pack_planes_512<3> : pack_planes_512<4>;
  pack(in, pixels, spread.channel_stride, out);
}

#elif defined(__aarch64__)

namespace {

// 16 pixels at a time, by instructions that do just this.
std::ptrdiff_t pack_three(const std::uint8_t* in, std::ptrdiff_t pixels, const Spread& spread,
                          std::uint8_t* out) {
  const bool reversed = spread.channel_stride < 0;
  const std::uint8_t* const lowest = in + spread.lowest();
  std::ptrdiff_t x = 0;
  for (; x + 16 <= pixels; x += 16) {
    uint8x16x3_t packed;
    if (spread.planar()) {
      for (int c = 0; c < 3; ++c) packed.val[c] = vld1q_u8(in + c * spread.channel_stride + x);
    } else if (spread.pixel_stride == 3) {
      const uint8x16x3_t loaded = vld3q_u8(lowest + 3 * x);
      for (int c = 0; c < 3; ++c) packed.val[c] = loaded.val[reversed ? 2 - c : c];
    } else {
      if (4 * x + 64 > readable(pixels, spread)) break;
      const uint8x16x4_t loaded = vld4q_u8(lowest + 4 * x);
      for (int c = 0; c < 3; ++c) packed.val[c] = loaded.val[reversed ? 2 - c : c];
    }
    vst3q_u8(out + 3 * x, packed);
  }
  return x;
}

std::ptrdiff_t pack_four(const std::uint8_t* in, std::ptrdiff_t pixels, const Spread& spread,
                         std::uint8_t* out) {
  const bool reversed = spread.channel_stride < 0;
  std::ptrdiff_t x = 0;
  for (; x + 16 <= pixels; x += 16) {
    uint8x16x4_t packed;
    if (spread.planar()) {
      for (int c = 0; c < 4; ++c) packed.val[c] = vld1q_u8(in + c * spread.channel_stride + x);
    } else {
      const uint8x16x4_t loaded = vld4q_u8(in + spread.lowest() + 4 * x);
      for (int c = 0; c < 4; ++c) packed.val[c] = loaded.val[reversed ? 3 - c : c];
    }
    vst4q_u8(out + 4 * x, packed);
  }
  return x;
}

}  // namespace

void pack_neon(const std::uint8_t* in, std::ptrdiff_t pixels, const Spread& spread,
               std::uint8_t* out) {
  std::ptrdiff_t done = 0;
  if (spread.interleaved() || spread.planar()) {
    done = (spread.channels == 3 ? pack_three : pack_four)(in, pixels, spread, out);
  }
  pack_rest(in, done, pixels, spread, out);
}

#endif

}  // namespace falconet

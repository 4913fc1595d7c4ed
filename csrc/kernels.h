#pragma once

// What a kernel is, and what it works on.
//
// The arithmetic of a resize is three loops: along rows, across rows, and from bytes to normalized
// numbers. They are written once per instruction set, in kernels_<name>.cpp, each giving the same
// bytes. Read kernels_scalar.cpp first: it is the definition, the others differ from it only in how
// they get there.
//
// Files with instructions beyond the baseline use no templates of the standard library, keep all
// but their table to themselves, and mark each function with what it needs. So the compiler can
// neither use such an instruction elsewhere, nor share a function that has one with other files.

#include <cstddef>
#include <cstdint>

#include "packing.h"

namespace falconet {

// The weights of four successive input samples ("taps"), in the form that an implementation
// multiplies with.
struct alignas(16) TapGroup {
  std::uint8_t bytes[16];
};

// What memory that kernels work on is made of, so that it begins on one.
struct alignas(64) CacheLine {
  std::uint8_t bytes[64];
};

// Which input samples, and how much of each, make each output sample along one axis. Fixed point:
// output = (sum of sample * weight + 2^(precision - 1)) >> precision, clipped to 0..255.
struct Axis {
  int size;          // output samples
  int padded_size;   // with those added so that kernels may work on four at a time
  const int* first;  // by output sample: the first tap's place in the input
  const int* count;  // by output sample: how many taps
  int groups;        // tap groups of each output sample; weights past `count` are zero
  // The largest distance, in input samples, between the first taps of the first and the last of so
  // many successive outputs: of 0 and 1, 2 and 3, ...; of 0 to 3, 4 to 7, ...; of any five.
  int span_of_2;
  int span_of_4;
  int span_of_5;
  const TapGroup* weights;
  int precision;

  const TapGroup& group(int output, int index) const {
    return weights[static_cast<std::ptrdiff_t>(index) * padded_size + output];
  }
};

enum class Element { uint8, float32, bfloat16 };
enum class Layout { nchw, nhwc };

inline std::ptrdiff_t bytes_of(Element element) {
  return element == Element::uint8 ? 1 : element == Element::bfloat16 ? 2 : 4;
}

// After how many samples of an interleaved row the channels repeat in step with 16 lanes, for 1, 3
// and 4 channels alike.
constexpr int kPattern = 48;

// normalized = fma(byte, scale, bias), rounded once to float32, and from there to the nearest
// bfloat16. `scale` and `bias` repeat the channels' numbers.
struct Normalization {
  int channels;
  float scale[kPattern];
  float bias[kPattern];
  const float* table;  // 256 normalized values per channel, for those without a fused multiply-add
};

// Where a row of normalized samples goes, in elements of the batch.
struct Destination {
  void* data;  // channel 0 of the row's first pixel
  Element element;
  Layout layout;
  std::ptrdiff_t plane;  // NCHW: from a channel to the next
};

// Rows that will be needed after those that a kernel works on.
struct Upcoming {
  // Each one's pixel in column `left`. As numbers, for they may be past the image's end, where
  // prefetching does no harm.
  std::uintptr_t rows[16];
  int count;
  std::ptrdiff_t pixel_stride;
};

struct Kernels {
  const char* name;

  bool (*supported)();

  // Turns four fixed-point weights into a group.
  void (*split)(const std::int32_t weights[4], TapGroup* group);

  // Four rows of pixels with 1, 3 or 4 interleaved channels, each to `axis.size` pixels. `in`
  // begins at input column `left`. Reads whole groups of taps and up to kOverread bytes more; may
  // write kOverwrite bytes after each row. `next` is for prefetch().
  void (*horizontal)(const std::uint8_t* const in[4], const Upcoming& next, int left, int channels,
                     const Axis& axis, std::uint8_t* const out[4]);

  // One row of `samples` bytes out of rows: `taps` points to 4 * axis.groups of them, those for
  // output sample `output`. Reads and writes no byte more.
  void (*vertical)(const std::uint8_t* const* taps, const Axis& axis, int output,
                   std::ptrdiff_t samples, std::uint8_t* out);

  // One row of `pixels` pixels to float32, or to bfloat16. Reads and writes no byte more.
  using Normalize = void(const std::uint8_t* in, std::ptrdiff_t pixels,
                         const Normalization& normalization, const Destination& out);
  Normalize* normalize_float32;
  Normalize* normalize_bfloat16;

  Pack* pack;

  void normalize(const std::uint8_t* in, std::ptrdiff_t pixels, const Normalization& normalization,
                 const Destination& out) const {
    const bool wide = out.element == Element::float32;
    (wide ? normalize_float32 : normalize_bfloat16)(in, pixels, normalization, out);
  }
};

constexpr std::ptrdiff_t kOverread = 64;
constexpr std::ptrdiff_t kOverwrite = 32;

// Fetches pixels [begin, end), counted from `left`, into the cache. The processor itself does not
// foresee those: a crop of a row, then of the next. Kernels do it a few hundred bytes at a time, so
// that the memory is kept busy, but not swamped.
inline void prefetch(const Upcoming& next, int begin, int end) {
  for (int i = 0; i < next.count; ++i) {
    for (std::ptrdiff_t at = begin * next.pixel_stride; at < end * next.pixel_stride; at += 64) {
      __builtin_prefetch(
          reinterpret_cast<const void*>(next.rows[i] + static_cast<std::uintptr_t>(at)));
      asm volatile("");  // GCC drops a loop that does nothing else
    }
  }
}

// The nearest bfloat16, ties to even. `bits` are those of a finite float32.
inline std::uint16_t bfloat16_from(std::uint32_t bits) {
  return static_cast<std::uint16_t>((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}

extern const Kernels kScalarKernels;
#if defined(__x86_64__)
extern const Kernels kAvx2Kernels;
extern const Kernels kAvx512Kernels;
#elif defined(__aarch64__)
extern const Kernels kNeonKernels;
#endif

}  // namespace falconet

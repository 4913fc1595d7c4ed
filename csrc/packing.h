#pragma once

#include <cstddef>
#include <cstdint>

namespace falconet {

// Where the samples of a row of pixels lie in memory, if not side by side. Steps are in bytes.
struct Spread {
  int channels;
  std::ptrdiff_t pixel_stride;
  std::ptrdiff_t channel_stride;

  // As the kernels need them.
  bool packed() const { return pixel_stride == channels && (channels == 1 || channel_stride == 1); }
  // Packed, but for the order of the channels, which the passes do not mind: BGR.
  bool reversed() const { return pixel_stride == channels && channels > 1 && channel_stride == -1; }
  // The channels of a pixel are neighbors, in this or the opposite order, and those of the next
  // pixel follow within four bytes: BGR, or the colors of RGBA.
  bool interleaved() const {
    return (channel_stride == 1 || channel_stride == -1) && channels > 1 &&
           pixel_stride >= channels && pixel_stride <= 4;
  }
  // Each channel has a row of its own, as in torch's tensors.
  bool planar() const { return pixel_stride == 1 && channels > 1; }

  // Of a pixel's samples, from its first channel to the one that lies lowest in memory.
  std::ptrdiff_t lowest() const { return channel_stride < 0 ? (channels - 1) * channel_stride : 0; }
};

// Brings a row of pixels side by side, `in` being channel 0 of the first. Reads nothing below the
// lowest of their samples or above the highest; may write kOverwrite bytes after the row. One for
// each implementation of the kernels. All take any spread, and are fast for the two above.
using Pack = void(const std::uint8_t* in, std::ptrdiff_t pixels, const Spread& spread,
                  std::uint8_t* out);

Pack pack_scalar;
#if defined(__x86_64__)
Pack pack_avx2;
Pack pack_avx512;
#elif defined(__aarch64__)
Pack pack_neon;
#endif

}  // namespace falconet

// A prototype, to see what linking libjpeg-turbo would bring: its rows, cropped, go straight into
// the kernels, those above the crop are skipped, and it stops after the last one needed. Against
// decoding the whole picture into memory and preprocessing that, with the same libjpeg-turbo.
//
//     streaming PICTURE.jpg ROUNDS
//
// Resizes the shorter side to 256 and crops 224, bilinear. Prints the milliseconds of both, and
// whether the two batches have the same bytes, as JSON.

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "implementation.h"
#include "pipeline.h"
#include "preprocessor.h"

// Needs what others include.
#include <jpeglib.h>

namespace {

using namespace falconet;

using Bytes = std::vector<std::uint8_t>;
using Batch = std::vector<float>;

constexpr int kSize = 224;
constexpr int kResize = 256;

// What the decoder needs beside the crop, to smooth its chroma there as if there were no crop.
constexpr int kMargin = 16;

class Decoder {
 public:
  Decoder() {
    info_.err = jpeg_std_error(&errors_);  // exits on an error, which suits a benchmark
    jpeg_create_decompress(&info_);
  }
  ~Decoder() { jpeg_destroy_decompress(&info_); }
  Decoder(const Decoder&) = delete;
  Decoder& operator=(const Decoder&) = delete;

  void start(const Bytes& file) {
    jpeg_mem_src(&info_, file.data(), file.size());
    jpeg_read_header(&info_, TRUE);
    info_.out_color_space = JCS_RGB;
    jpeg_start_decompress(&info_);
  }

  jpeg_decompress_struct* operator->() { return &info_; }
  jpeg_decompress_struct* get() { return &info_; }

 private:
  jpeg_decompress_struct info_;
  jpeg_error_mgr errors_;
};

void whole(Decoder& decoder, const Bytes& file, const Preprocessor& preprocessor, Bytes& pixels,
           Batch& batch) {
  decoder.start(file);
  const int height = static_cast<int>(decoder->output_height);
  const int width = static_cast<int>(decoder->output_width);
  const std::size_t stride = static_cast<std::size_t>(width) * 3;
  pixels.resize(stride * height);
  while (decoder->output_scanline < decoder->output_height) {
    std::uint8_t* row = pixels.data() + decoder->output_scanline * stride;
    jpeg_read_scanlines(decoder.get(), &row, 1);
  }
  jpeg_finish_decompress(decoder.get());
  preprocessor.run({pixels.data(), height, width, 3, static_cast<std::ptrdiff_t>(stride), 3, 1},
                   batch.data());
}

struct Coordinates {
  Size full;
  int top;
  int left;
};

// As Preprocessor::run() has them.
Coordinates coordinates(const Preprocessor& preprocessor, Size picture) {
  const Size full = preprocessor.resized(picture);
  const auto half = [](int rest) { return static_cast<int>(__builtin_nearbyint(rest / 2.0)); };
  return {full, half(full.height - kSize), half(full.width - kSize)};
}

void streamed(Decoder& decoder, const Bytes& file, const Preprocessor& preprocessor,
              const Coefficients& x, const Coefficients& y, const Normalization& normalization,
              Bytes& memory, Batch& batch) {
  const Kernels& kernels = *preprocessor.options().kernels;
  decoder.start(file);
  JDIMENSION left = static_cast<JDIMENSION>(std::max(0, x.in_begin() - kMargin));
  const JDIMENSION right =
      std::min(decoder->output_width, static_cast<JDIMENSION>(x.in_end() + kMargin));
  JDIMENSION width = right - left;
  jpeg_crop_scanline(decoder.get(), &left, &width);
  jpeg_skip_scanlines(decoder.get(), static_cast<JDIMENSION>(y.in_begin()));

  const std::size_t in_stride = static_cast<std::size_t>(width) * 3 + kOverread;
  const std::size_t out_stride = (kSize * 3 + kOverwrite + 63) / 64 * 64;
  const int ring_rows = (y.max_count() + 3 + 3) / 4 * 4;
  memory.resize(4 * in_stride + (ring_rows + 1) * out_stride);
  std::uint8_t* const decoded = memory.data();
  std::uint8_t* const ring = decoded + 4 * in_stride;
  std::uint8_t* const finished = ring + ring_rows * out_stride;
  std::vector<const std::uint8_t*> slots(2 * static_cast<std::size_t>(ring_rows));
  for (int i = 0; i < 2 * ring_rows; ++i) slots[i] = ring + i % ring_rows * out_stride;

  int made = y.in_begin();
  for (int row = 0; row < kSize; ++row) {
    const int first = y.axis().first[row];
    for (; made < first + y.axis().count[row]; made += 4) {
      const std::uint8_t* in[4];
      std::uint8_t* out[4];
      for (int i = 0; i < 4; ++i) {
        std::uint8_t* line = decoded + i * in_stride;
        in[i] = line;
        out[i] = ring + (made - y.in_begin() + i) % ring_rows * out_stride;
        if (decoder->output_scanline < decoder->output_height) {
          jpeg_read_scanlines(decoder.get(), &line, 1);
        }
      }
      kernels.horizontal(in, 0, static_cast<int>(left), 3, x.axis(), out);
    }
    kernels.vertical(slots.data() + (first - y.in_begin()) % ring_rows, y.axis(), row, kSize * 3,
                     finished);
    kernels.normalize(finished, kSize, normalization,
                      {batch.data() + row * kSize, Element::float32, Layout::nchw, kSize * kSize});
  }
  jpeg_abort_decompress(decoder.get());
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) {
    std::fprintf(stderr, "usage: streaming PICTURE.jpg ROUNDS\n");
    return 2;
  }
  std::ifstream stream(argv[1], std::ios::binary);
  const Bytes file{std::istreambuf_iterator<char>(stream), std::istreambuf_iterator<char>()};
  const int rounds = std::atoi(argv[2]);

  const Kernels& kernels = implementation_from_name("");
  const std::vector<double> mean = {0.485, 0.456, 0.406};
  const std::vector<double> std = {0.229, 0.224, 0.225};
  const Preprocessor preprocessor({{kSize, kSize},
                                   kResize,
                                   Filter::bilinear,
                                   Reference::pillow,
                                   mean,
                                   std,
                                   Layout::nchw,
                                   Element::float32,
                                   &kernels});
  const Normalization& normalization = preprocessor.normalization();

  Decoder decoder;
  decoder.start(file);
  const Size picture{static_cast<int>(decoder->output_height),
                     static_cast<int>(decoder->output_width)};
  jpeg_abort_decompress(decoder.get());
  const Coordinates at = coordinates(preprocessor, picture);
  const Coefficients x({picture.width, at.full.width, Filter::bilinear, Reference::pillow, at.left,
                        at.left + kSize, &kernels});
  const Coefficients y({picture.height, at.full.height, Filter::bilinear, Reference::pillow, at.top,
                        at.top + kSize, &kernels});

  Bytes pixels;
  Bytes memory;
  Batch batches[2];
  for (Batch& batch : batches) batch.assign(3 * kSize * kSize, 0.0F);
  std::vector<double> times[2];
  for (int i = -2; i < rounds; ++i) {
    for (int way = 0; way < 2; ++way) {
      const auto begin = std::chrono::steady_clock::now();
      if (way == 0) {
        whole(decoder, file, preprocessor, pixels, batches[0]);
      } else {
        streamed(decoder, file, preprocessor, x, y, normalization, memory, batches[1]);
      }
      const std::chrono::duration<double, std::milli> time =
          std::chrono::steady_clock::now() - begin;
      if (i >= 0) times[way].push_back(time.count());
    }
  }
  const bool same =
      std::memcmp(batches[0].data(), batches[1].data(), batches[0].size() * sizeof(float)) == 0;
  std::printf("{\"height\": %d, \"width\": %d, \"same_bytes\": %s, \"libjpeg_turbo\": %d",
              picture.height, picture.width, same ? "true" : "false", LIBJPEG_TURBO_VERSION_NUMBER);
  for (int way = 0; way < 2; ++way) {
    std::printf(", \"%s\": [", way == 0 ? "whole" : "streamed");
    for (std::size_t i = 0; i < times[way].size(); ++i) {
      std::printf("%s%.4f", i == 0 ? "" : ", ", times[way][i]);
    }
    std::printf("]");
  }
  std::printf("}\n");
  return same ? 0 : 1;
}

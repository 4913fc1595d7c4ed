// Looks for images that an implementation turns into something else than a plain model does, or
// for which it reads or writes outside the memory it was given.
//
// With FALCONET_LIBFUZZER this is a target for libFuzzer and AddressSanitizer (make fuzz).
// Otherwise it is a program that tries random inputs between guard pages, for processors and
// compilers that lack those (make arm).

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "implementation.h"
#include "pipeline.h"
#include "preprocessor.h"
#include "workspace.h"

#ifndef FALCONET_LIBFUZZER
#include <sys/mman.h>
#include <unistd.h>
#endif

namespace falconet {
namespace {

// The input's bytes, as one decision after another. After the last one they are drawn at random,
// from what the input is: zeros would make most short inputs alike.
class Choices {
 public:
  Choices(const std::uint8_t* data, std::size_t size) : next_(data), end_(data + size) {
    std::seed_seq seed(data, data + size);
    random_.seed(seed);
  }

  int up_to(int most) {
    std::uint32_t number = 0;
    for (int rest = most; rest > 0; rest >>= 8) number = number << 8 | byte();
    return static_cast<int>(number % (static_cast<std::uint32_t>(most) + 1));
  }

  int between(int least, int most) { return least + up_to(most - least); }

  bool one_in(int n) { return up_to(n - 1) == 0; }

  std::uint8_t byte() {
    return next_ < end_ ? *next_++ : static_cast<std::uint8_t>(random_() >> 8);
  }

 private:
  const std::uint8_t* next_;
  const std::uint8_t* end_;
  std::minstd_rand random_;
};

#ifdef FALCONET_LIBFUZZER
// AddressSanitizer knows where it begins and ends. `shift` moves the beginning off alignment, at
// the price that so many bytes before it are not watched.
class Memory {
 public:
  Memory(std::size_t bytes, int shift) : bytes_(new std::uint8_t[bytes + shift]), shift_(shift) {}
  std::uint8_t* begin() { return bytes_.get() + shift_; }

 private:
  std::unique_ptr<std::uint8_t[]> bytes_;
  int shift_;
};
#else
// A page that cannot be touched lies right before it, or, with a `shift`, right after it.
class Memory {
 public:
  Memory(std::size_t bytes, int shift) {
    const auto page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
    const std::size_t inner = (bytes + page - 1) / page * page;
    mapped_ = inner + 2 * page;
    start_ = mmap(nullptr, mapped_, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (start_ == MAP_FAILED) std::abort();
    std::uint8_t* const usable = static_cast<std::uint8_t*>(start_) + page;
    if (mprotect(usable, inner, PROT_READ | PROT_WRITE) != 0) std::abort();
    begin_ = usable + (shift == 0 ? 0 : inner - bytes);
  }
  ~Memory() { munmap(start_, mapped_); }
  Memory(const Memory&) = delete;
  Memory& operator=(const Memory&) = delete;
  std::uint8_t* begin() { return begin_; }

 private:
  std::size_t mapped_;
  void* start_;
  std::uint8_t* begin_;
};
#endif

// Mostly small ones; a long one comes with a short one.
Size size_from(Choices* choices) {
  Size size{choices->between(1, 120), choices->between(1, 120)};
  if (!choices->one_in(6)) return size;
  int& longer = choices->one_in(2) ? size.height : size.width;
  size.height = 1 + size.height % 12;
  size.width = 1 + size.width % 12;
  longer = choices->between(1, 4000);
  return size;
}

// An image with any strides, in memory that holds it and nothing else.
class TestImage {
 public:
  TestImage(Choices* choices, Size size, int channels)
      : image_{nullptr, size.height, size.width, channels, 0, 0, 0} {
    choose_strides(choices);
    const std::ptrdiff_t reach[3] = {image_.row_stride * (size.height - 1),
                                     image_.pixel_stride * (size.width - 1),
                                     image_.channel_stride * (channels - 1)};
    std::ptrdiff_t before = 0;
    std::ptrdiff_t bytes = 1;
    for (const std::ptrdiff_t r : reach) {
      before -= std::min<std::ptrdiff_t>(r, 0);
      bytes += std::abs(r);
    }
    memory_ = std::make_unique<Memory>(bytes, choices->one_in(2) ? choices->between(1, 63) : 0);
    fill(choices, memory_->begin(), bytes);
    image_.data = memory_->begin() + before;
  }

  const Image& image() const { return image_; }

  // The value of all its samples, if they have but one by design.
  std::optional<int> constant() const { return constant_; }

  // Its pixels side by side.
  std::vector<std::uint8_t> packed() const {
    std::vector<std::uint8_t> samples;
    for (int y = 0; y < image_.height; ++y) {
      for (int x = 0; x < image_.width; ++x) {
        for (int c = 0; c < image_.channels; ++c) {
          samples.push_back(image_.row(y)[x * image_.pixel_stride + c * image_.channel_stride]);
        }
      }
    }
    return samples;
  }

 private:
  void choose_strides(Choices* choices) {
    std::ptrdiff_t& row = image_.row_stride;
    std::ptrdiff_t& pixel = image_.pixel_stride;
    std::ptrdiff_t& channel = image_.channel_stride;
    const int order = choices->up_to(9);
    if (order == 6) {  // planes
      pixel = 1;
      row = image_.width;
      channel = row * image_.height;
    } else if (order == 7) {  // transposed
      channel = 1;
      row = image_.channels;
      pixel = row * image_.height;
    } else {
      channel = order == 8 ? -1 : 1;  // BGR
      pixel = order == 9 ? 4 : image_.channels + (order == 5 ? choices->between(1, 4) : 0);
      row = pixel * image_.width;
    }
    if (choices->one_in(3)) row += choices->between(1, 70);
    if (choices->one_in(4)) row = -row;
    if (choices->one_in(8)) pixel = -pixel;
    if (choices->one_in(8)) channel = -channel;
    if (choices->one_in(12)) row = choices->between(-9, 9);  // rows that share memory
    if (choices->one_in(12)) row = 0;
    if (choices->one_in(24)) pixel = 0;
    if (choices->one_in(24)) channel = 0;
  }

  void fill(Choices* choices, std::uint8_t* data, std::ptrdiff_t bytes) {
    const int kind = choices->up_to(7);
    if (kind == 0) constant_ = choices->byte();
    for (std::ptrdiff_t i = 0; i < bytes; ++i) {
      const std::uint8_t byte = choices->byte();
      // Black and white overshoots, and has to be clipped.
      data[i] = kind == 0  ? static_cast<std::uint8_t>(*constant_)
                : kind < 4 ? (byte % 2 == 0 ? std::uint8_t{0} : std::uint8_t{255})
                           : byte;
    }
  }

  Image image_;
  std::unique_ptr<Memory> memory_;
  std::optional<int> constant_;
};

// What is to be made of an image, and where it goes.
struct Job {
  bool whole_preprocessor;  // Preprocessor::run instead of run
  Fit fit;
  Size resize;
  Crop crop;
  std::vector<std::uint8_t> fill;
  Filter filter;
  Reference exact_as;
  std::vector<double> mean;
  std::vector<double> std;
  Element element;
  Layout layout;
  Size full;  // what the image is resized to
  Size size;  // what is kept of that,
  int top;    // from here on; less than zero where the fill is put before it
  int left;
  std::ptrdiff_t row_stride;  // of the output, in elements
  std::ptrdiff_t plane;
  int shift;  // of the output's memory
};

Preprocessor::Options options_of(const Job& job, const Kernels& kernels) {
  return {job.size,     job.fit,  job.resize, job.crop,   job.fill,    job.filter,
          job.exact_as, job.mean, job.std,    job.layout, job.element, &kernels};
}

// Where the crop begins: torchvision's CenterCrop, or Python's (available - wanted) // 2.
int centered(int available, int wanted, Crop crop) {
  if (crop == Crop::center_floor) {
    return static_cast<int>(std::floor((available - wanted) / 2.0));
  }
  if (wanted >= available) return -((wanted - available) / 2);
  return static_cast<int>(std::nearbyint((available - wanted) / 2.0));
}

// A size to resize to: any, but often with a side that stays, or just does not.
Size full_from(Choices* choices, Size image) {
  Size full = size_from(choices);
  if (choices->one_in(4)) full.height = std::max(1, image.height + choices->between(-1, 1));
  if (choices->one_in(4)) full.width = std::max(1, image.width + choices->between(-1, 1));
  if (choices->one_in(4)) full.height = image.height;
  if (choices->one_in(4)) full.width = image.width;
  if (choices->one_in(24)) full.height = choices->between(1, kMaxSide);
  if (choices->one_in(24)) full.width = choices->between(1, kMaxSide);
  return full;
}

// For torch's precision all of an axis has to be looked at, which takes too long for a huge one.
bool torch_can(const Job& job) {
  return job.filter != Filter::box && job.filter != Filter::hamming &&
         std::max(job.full.height, job.full.width) <= 8000;
}

Job job_from(Choices* choices, Size image, int channels) {
  Job job = {};
  job.whole_preprocessor = choices->one_in(3);
  job.filter = static_cast<Filter>(choices->up_to(4));
  job.exact_as = Reference::pillow;
  for (int c = 0; c < channels; ++c) {
    job.mean.push_back(choices->byte() / 255.0);
    job.std.push_back((1 + choices->byte()) / 64.0);
  }
  job.layout = static_cast<Layout>(choices->up_to(1));
  job.shift = 4 * choices->up_to(4);
  if (job.whole_preprocessor) {
    job.element = choices->one_in(2) ? Element::bfloat16 : Element::float32;
    job.size = size_from(choices);
    if (choices->one_in(6)) job.size = image;
    job.fit = static_cast<Fit>(choices->up_to(2));
    job.resize = choices->one_in(2) ? job.size : size_from(choices);
    job.crop = static_cast<Crop>(choices->up_to(1));
    for (int c = 0; c < channels; ++c) job.fill.push_back(choices->byte());
  } else {
    job.element = static_cast<Element>(choices->up_to(2));
    job.full = full_from(choices, image);
    // Not all of an image that would be huge.
    job.size = {std::min(job.full.height, 4000), std::min(job.full.width, 4000)};
    if (choices->one_in(2) || job.size.height > 120) {
      job.size.height = choices->between(1, std::min(job.size.height, 120));
    }
    if (choices->one_in(2) || (job.size.width > 120 && job.size.height > 12)) {
      job.size.width = choices->between(1, std::min(job.size.width, 120));
    }
    job.top = choices->up_to(job.full.height - job.size.height);
    job.left = choices->up_to(job.full.width - job.size.width);
  }
  if (job.whole_preprocessor) {
    job.full = Preprocessor(options_of(job, kScalarKernels)).resized(image);
    job.top = centered(job.full.height, job.size.height, job.crop);
    job.left = centered(job.full.width, job.size.width, job.crop);
  }
  if (choices->one_in(3) && torch_can(job)) job.exact_as = Reference::torch;
  if (job.element == Element::uint8) job.layout = Layout::nhwc;
  const bool gaps = !job.whole_preprocessor && choices->one_in(2);
  const int per_pixel = job.layout == Layout::nchw ? 1 : channels;
  job.row_stride = job.size.width * per_pixel + (gaps ? choices->up_to(9) : 0);
  job.plane = job.row_stride * job.size.height + (gaps ? choices->up_to(9) : 0);
  return job;
}

// In elements, up to the last one written.
std::size_t length_of(const Job& job) {
  const auto channels = static_cast<std::ptrdiff_t>(job.mean.size());
  const bool planar = job.layout == Layout::nchw;
  return (planar ? (channels - 1) * job.plane : 0) + (job.size.height - 1) * job.row_stride +
         job.size.width * (planar ? 1 : channels);
}

float scale_of(const Job& job, int channel) {
  return static_cast<float>(1.0 / (255.0 * job.std[channel]));
}

float bias_of(const Job& job, int channel) {
  return static_cast<float>(-job.mean[channel] / job.std[channel]);
}

float normalized(const Job& job, int channel, std::uint8_t byte) {
  return std::fma(static_cast<float>(byte), scale_of(job, channel), bias_of(job, channel));
}

void run_job(const Job& job, const Image& image, const Kernels& kernels, void* out) {
  if (job.whole_preprocessor) {
    return Preprocessor(options_of(job, kernels)).run(image, out);
  }
  const int channels = image.channels;
  std::vector<float> table;
  for (int i = 0; i < 256 * channels; ++i) {
    table.push_back(normalized(job, i / 256, static_cast<std::uint8_t>(i % 256)));
  }
  Normalization normalization = {channels, {}, {}, table.data()};
  for (int i = 0; i < kPattern; ++i) {
    normalization.scale[i] = scale_of(job, i % channels);
    normalization.bias[i] = bias_of(job, i % channels);
  }
  const Window window = {job.top, job.left, job.size.height, job.size.width};
  run(image, {job.full, window, job.filter, job.exact_as}, kernels,
      {{out, job.element, job.layout, job.plane}, job.row_stride, &normalization});
}

// The nearest bfloat16, looked for among the two it can be.
std::uint16_t bfloat16(float value) {
  std::uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  const auto distance = [&](std::uint32_t candidate) {
    const std::uint32_t wide = candidate << 16;
    float other;
    std::memcpy(&other, &wide, sizeof other);
    return std::fabs(static_cast<double>(other) - value);
  };
  const std::uint32_t low = bits >> 16;
  const double difference = distance(low) - distance(low + 1);
  const bool take_low = difference < 0 || (difference == 0 && low % 2 == 0);
  return static_cast<std::uint16_t>(take_low ? low : low + 1);
}

// A sample as an element of the output, whose first bytes count.
std::array<std::uint8_t, 4> element_of(const Job& job, int channel, std::uint8_t byte) {
  std::array<std::uint8_t, 4> element = {byte};
  const float number = normalized(job, channel, byte);
  const std::uint16_t half = bfloat16(number);
  if (job.element == Element::float32) std::memcpy(element.data(), &number, sizeof number);
  if (job.element == Element::bfloat16) std::memcpy(element.data(), &half, sizeof half);
  return element;
}

constexpr std::uint8_t kUntouched = 0xa5;

// What the model makes of an image.
struct Expected {
  std::vector<std::uint8_t> bytes;  // of the whole output, with its gaps
  std::string mistake;              // what is wrong with the scalar kernels themselves
};

// The image without strides is resized to bytes by the scalar kernels, as a whole where that is
// not too much. All that comes after, windows, padding, numbers and their order, is done here, one
// number at a time.
Expected expected(const Job& job, const TestImage& source) {
  const Image& image = source.image();
  const int channels = image.channels;
  const std::vector<std::uint8_t> packed = source.packed();
  const Image plain = {packed.data(),
                       image.height,
                       image.width,
                       channels,
                       static_cast<std::ptrdiff_t>(image.width) * channels,
                       channels,
                       1};
  Window window = {0, 0, job.full.height, job.full.width};
  if (static_cast<std::int64_t>(job.full.height) * job.full.width > 1 << 16) {
    window.top = std::max(job.top, 0);
    window.left = std::max(job.left, 0);
    window.height = std::min(job.top + job.size.height, job.full.height) - window.top;
    window.width = std::min(job.left + job.size.width, job.full.width) - window.left;
  }
  std::vector<std::uint8_t> resized(static_cast<std::size_t>(window.height) * window.width *
                                    channels);
  run(plain, {job.full, window, job.filter, job.exact_as}, kScalarKernels,
      {{resized.data(), Element::uint8, Layout::nhwc, 0},
       static_cast<std::ptrdiff_t>(window.width) * channels,
       nullptr});

  Expected result;
  if (source.constant() && std::any_of(resized.begin(), resized.end(), [&](std::uint8_t byte) {
        return byte != *source.constant();
      })) {
    result.mistake = "an image of one color did not keep it";
  }
  if (job.full == Size{image.height, image.width} && resized != packed) {
    result.mistake = "an image that keeps its size did not keep its pixels";
  }

  std::vector<std::array<std::uint8_t, 4>> elements;
  for (int i = 0; i < 256 * channels; ++i) {
    elements.push_back(element_of(job, i / 256, static_cast<std::uint8_t>(i % 256)));
  }
  const auto width = static_cast<std::size_t>(bytes_of(job.element));
  const bool planar = job.layout == Layout::nchw;
  result.bytes.assign(length_of(job) * width, kUntouched);
  for (int y = 0; y < job.size.height; ++y) {
    for (int x = 0; x < job.size.width; ++x) {
      const int from_y = y + job.top - window.top;
      const int from_x = x + job.left - window.left;
      const bool inside =
          from_y >= 0 && from_y < window.height && from_x >= 0 && from_x < window.width;
      const std::ptrdiff_t pixel = std::ptrdiff_t{from_y} * window.width + from_x;
      for (int c = 0; c < channels; ++c) {
        const int byte = inside ? resized[pixel * channels + c] : job.fill[c];
        const std::ptrdiff_t at =
            y * job.row_stride + (planar ? c * job.plane + x : x * channels + c);
        std::memcpy(&result.bytes[at * width], elements[256 * c + byte].data(), width);
      }
    }
  }
  return result;
}

// Sometimes a job to do first, of which nothing that is kept must be taken for what `job` needs.
std::optional<Job> almost_the_same(Choices* choices, const Job& job) {
  if (!choices->one_in(4)) return std::nullopt;
  Job other = job;
  if (choices->one_in(2) || !torch_can(job)) {
    other.filter = job.filter == Filter::bicubic ? Filter::lanczos : Filter::bicubic;
  } else {
    other.exact_as = job.exact_as == Reference::torch ? Reference::pillow : Reference::torch;
  }
  return other;
}

void describe(const Job& job, const Image& image) {
  std::fprintf(stderr,
               "image %dx%dx%d, strides %td %td %td\n"
               "resized to %dx%d, %dx%d from %d, %d, with filter %d, exact_as %d\n"
               "element %d, layout %d, row stride %td, plane %td, Preprocessor %d\n",
               image.height, image.width, image.channels, image.row_stride, image.pixel_stride,
               image.channel_stride, job.full.height, job.full.width, job.size.height,
               job.size.width, job.top, job.left, static_cast<int>(job.filter),
               static_cast<int>(job.exact_as), static_cast<int>(job.element),
               static_cast<int>(job.layout), job.row_stride, job.plane, job.whole_preprocessor);
}

// Room left over from before would hide that too little is asked for.
void release_workspace() {
  Workspace& workspace = Workspace::of_thread();
  for (Buffer* buffer : {&workspace.source, &workspace.edge, &workspace.ring, &workspace.rows}) {
    buffer->release();
  }
  workspace.taps = {};
}

// Whether all implementations do as the model does.
bool agree(const std::uint8_t* data, std::size_t size) {
  Choices choices(data, size);
  const int channels = std::array{3, 1, 4, 3}[choices.up_to(3)];
  const bool keep = choices.one_in(4);
  const Size image_size = size_from(&choices);
  const Job job = job_from(&choices, image_size, channels);
  const TestImage source(&choices, image_size, channels);
  const std::optional<Job> before = almost_the_same(&choices, job);
  const Expected wanted = expected(job, source);
  if (!wanted.mistake.empty()) {
    describe(job, source.image());
    std::fprintf(stderr, "%s\n", wanted.mistake.c_str());
    return false;
  }
  const std::size_t bytes = wanted.bytes.size();
  for (const Kernels* kernels : implementations()) {
    Memory out(bytes, job.shift);
    if (before) run_job(*before, source.image(), *kernels, out.begin());
    if (!keep) release_workspace();
    std::memset(out.begin(), kUntouched, bytes);
    run_job(job, source.image(), *kernels, out.begin());
    if (std::memcmp(out.begin(), wanted.bytes.data(), bytes) != 0) {
      const auto* const difference =
          std::mismatch(out.begin(), out.begin() + bytes, wanted.bytes.begin()).first;
      describe(job, source.image());
      std::fprintf(stderr, "%s differs from the model, first in byte %td of %zu\n", kernels->name,
                   difference - out.begin(), bytes);
      return false;
    }
  }
  return true;
}

}  // namespace
}  // namespace falconet

#ifdef FALCONET_LIBFUZZER
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (!falconet::agree(data, size)) std::abort();
  return 0;
}
#else
// Takes how many inputs to try, and the seed of the first; each next one has the next seed.
int main(int argc, char** argv) {
  const unsigned long inputs = argc > 1 ? std::strtoul(argv[1], nullptr, 10) : 2000;
  const unsigned long seed = argc > 2 ? std::strtoul(argv[2], nullptr, 10) : 0;
  std::printf("%lu inputs from seed %lu:", inputs, seed);
  for (const falconet::Kernels* kernels : falconet::implementations()) {
    std::printf(" %s", kernels->name);
  }
  std::printf("\n");
  std::fflush(stdout);
  for (unsigned long i = 0; i < inputs; ++i) {
    std::mt19937 random(static_cast<std::mt19937::result_type>(seed + i));
    std::uint8_t input[16];
    for (std::uint8_t& byte : input) byte = static_cast<std::uint8_t>(random());
    if (!falconet::agree(input, sizeof input)) {
      std::fprintf(stderr, "with seed %lu\n", seed + i);
      return 1;
    }
  }
  std::printf("no difference\n");
  return 0;
}
#endif

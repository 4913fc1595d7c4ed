// Counts what a Preprocessor allocates for images whose like it has seen before, which has to be
// nothing, in every implementation, on this thread and on those of a pool. With the argument
// "unseen" they come with one of a new size, for which it does allocate.

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <new>
#include <vector>

#include "implementation.h"
#include "preprocessor.h"
#include "thread_pool.h"

namespace {

std::atomic<long> allocations{0};

void* allocate(std::size_t bytes, std::size_t alignment) {
  ++allocations;
  const std::size_t rounded = (bytes + alignment - 1) / alignment * alignment;
  void* const memory = std::aligned_alloc(alignment, rounded == 0 ? alignment : rounded);
  if (memory == nullptr) std::abort();
  return memory;
}

}  // namespace

// The standard library's forms for arrays and without exceptions call these.
void* operator new(std::size_t bytes) { return allocate(bytes, __STDCPP_DEFAULT_NEW_ALIGNMENT__); }
void* operator new(std::size_t bytes, std::align_val_t alignment) {
  return allocate(bytes, static_cast<std::size_t>(alignment));
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }
void operator delete(void* memory, std::align_val_t) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t, std::align_val_t) noexcept { std::free(memory); }

namespace falconet {
namespace {

constexpr Size kSize{24, 32};
constexpr int kWidest = 100;
const std::vector<std::uint8_t> kBlack(3, 0);

// With one color for all, so that any strides can share it.
const std::vector<std::uint8_t> pixels(std::size_t{kWidest} * kWidest * 4, 7);

Image packed(int height, int width) {
  return {pixels.data(), height, width, 3, std::ptrdiff_t{3} * width, 3, 1};
}

// RGB out of RGBA.
Image unpacked(int height, int width) {
  return {pixels.data(), height, width, 3, std::ptrdiff_t{4} * width, 4, 1};
}

Image bgr(int height, int width) {
  return {pixels.data() + 2, height, width, 3, std::ptrdiff_t{3} * width, 3, -1};
}

Image planar(int height, int width) {
  return {pixels.data(), height, width, 3, width, 1, std::ptrdiff_t{height} * width};
}

// Every other pixel.
Image sparse(int height, int width) {
  return {pixels.data(), height, width / 2, 3, std::ptrdiff_t{3} * width, 6, 1};
}

// By what they are when squashed to kSize; the crop below is smaller than kSize, and padded.
const std::vector<Image> images = {
    packed(60, 100),   // horizontal pass first
    packed(90, 40),    // vertical pass first
    packed(24, 50),    // horizontal pass alone
    packed(60, 32),    // vertical pass alone
    packed(24, 32),    // neither
    packed(9, 11),     // enlarged
    unpacked(60, 70),  // packed on the way
    unpacked(90, 39), bgr(60, 71),    bgr(90, 38),
    planar(60, 72),   planar(90, 37), sparse(60, 73),  // copied first
    sparse(90, 36),
};
const Image unseen = packed(61, 99);

class Preprocessors {
 public:
  explicit Preprocessors(const Kernels& kernels)
      : squashing_({kSize, Fit::both, kSize, Crop::center, kBlack, Filter::bilinear,
                    Reference::pillow, mean_, std_, Layout::nchw, Element::float32, &kernels}),
        cropping_({kSize,
                   Fit::shorter,
                   {20, 20},
                   Crop::center,
                   kBlack,
                   Filter::bicubic,
                   Reference::torch,
                   mean_,
                   std_,
                   Layout::nhwc,
                   Element::bfloat16,
                   &kernels}) {}

  void run(const Image& image, std::vector<float>* out) const {
    squashing_.run(image, out->data());
    cropping_.run(image, out->data());
  }

  std::vector<float> room() const { return std::vector<float>(squashing_.elements_per_image()); }

 private:
  std::vector<double> mean_ = {0.1, 0.5, 0.9};
  std::vector<double> std_ = {0.25, 0.5, 1.5};
  Preprocessor squashing_;
  Preprocessor cropping_;
};

constexpr int kRounds = 4;
constexpr int kWarm = 2;  // of them may allocate

long on_this_thread(const Preprocessors& preprocessors, bool with_unseen) {
  std::vector<float> out = preprocessors.room();
  long before = 0;
  for (int round = 0; round < kRounds; ++round) {
    if (round == kWarm) before = allocations;
    for (const Image& image : images) preprocessors.run(image, &out);
    if (with_unseen && round == kWarm) preprocessors.run(unseen, &out);
  }
  return allocations - before;
}

// Two tasks that wait for each other, so that each thread has one, and knows all images.
long on_two_threads(const Preprocessors& preprocessors, bool with_unseen) {
  ThreadPool threads(2);
  std::vector<float> outs[2] = {preprocessors.room(), preprocessors.room()};
  long before = 0;
  for (int round = 0; round < kRounds; ++round) {
    if (round == kWarm) before = allocations;
    std::atomic<int> begun{0};
    const bool one_more = with_unseen && round == kWarm;
    const auto task = [&](std::size_t i) {
      ++begun;
      while (begun < 2) std::this_thread::yield();
      for (const Image& image : images) preprocessors.run(image, &outs[i]);
      if (one_more) preprocessors.run(unseen, &outs[i]);
    };
    threads.run(2, [&task](std::size_t i) { task(i); });
  }
  return allocations - before;
}

}  // namespace
}  // namespace falconet

int main(int argc, char** argv) {
  const bool with_unseen = argc > 1 && std::strcmp(argv[1], "unseen") == 0;
  long sum = 0;
  for (const falconet::Kernels* kernels : falconet::implementations()) {
    const falconet::Preprocessors preprocessors(*kernels);
    const long alone = falconet::on_this_thread(preprocessors, with_unseen);
    const long in_pool = falconet::on_two_threads(preprocessors, with_unseen);
    std::printf("%s: %ld allocations, %ld on two threads\n", kernels->name, alone, in_pool);
    sum += alone + in_pool;
  }
  return sum == 0 ? 0 : 1;
}

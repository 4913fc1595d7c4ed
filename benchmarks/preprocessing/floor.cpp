// How long the kernels take on rows that lie in the first-level cache, in cycles of the processor,
// and how many of its instructions the horizontal pass needs at the least.
//
//     floor
//
// For a resize of the shorter side to 256 and a crop of 224, bilinear. Prints JSON.

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "coefficients.h"
#include "implementation.h"

namespace {

using namespace falconet;

constexpr int kSize = 224;
constexpr int kRounds = 21;

// Nanoseconds of one call: the median of many rounds.
template <class Work>
double time_of(Work work, int calls) {
  std::vector<double> rounds;
  for (int round = 0; round < kRounds; ++round) {
    const auto begin = std::chrono::steady_clock::now();
    for (int i = 0; i < calls; ++i) work();
    const std::chrono::duration<double, std::nano> time = std::chrono::steady_clock::now() - begin;
    rounds.push_back(time.count() / calls);
  }
  std::nth_element(rounds.begin(), rounds.begin() + kRounds / 2, rounds.end());
  return rounds[kRounds / 2];
}

// A chain of additions takes one cycle for each.
double nanoseconds_per_cycle() {
  long sum = 0;
  const auto add_ten = [&] {
    for (int i = 0; i < 10; ++i) asm volatile("" : "+r"(++sum));
  };
  return time_of(add_ten, 2'000'000) / 10;
}

int middle(int size) { return static_cast<int>(__builtin_nearbyint((size - kSize) / 2.0)); }

}  // namespace

int main() {
  const Kernels& kernels = implementation_from_name("");
  const double cycle = nanoseconds_per_cycle();
  std::printf("{\"implementation\": \"%s\", \"nanoseconds_per_cycle\": %.4f, \"rows\": [",
              kernels.name, cycle);
  const char* separator = "";
  for (const auto& [height, width] : {std::pair(375, 500), {1080, 1920}, {3024, 4032}}) {
    const int resized = 256 * width / height;
    const auto key = [&](int in, int out) {
      const int begin = middle(out);
      return Coefficients::Key{in,    out,           Filter::bilinear, Reference::pillow,
                               begin, begin + kSize, &kernels};
    };
    const Coefficients x(key(width, resized));
    const Coefficients y(key(height, 256));
    const int rows = y.in_end() - y.in_begin();
    const std::size_t stride = static_cast<std::size_t>(width) * 3 + kOverread;
    std::vector<std::uint8_t> source(4 * stride);
    for (auto& byte : source) byte = static_cast<std::uint8_t>(std::rand());
    constexpr int kOut = 3 * kSize + kOverwrite;
    std::vector<CacheLine> memory(200 * 12);
    std::uint8_t* const ring = memory.front().bytes;
    const std::uint8_t* in[4];
    std::uint8_t* out[4];
    for (int i = 0; i < 4; ++i) {
      in[i] = source.data() + i * stride;
      out[i] = ring + i * 12 * 64;
    }
    static_assert(kOut <= 12 * 64);
    std::vector<const std::uint8_t*> taps(4 * static_cast<std::size_t>(y.axis().groups));
    for (std::size_t i = 0; i < taps.size(); ++i) taps[i] = ring + i * 12 * 64;

    const double horizontal =
        time_of([&] { kernels.horizontal(in, 0, 0, 3, x.axis(), out); }, 2000) / 4;
    const double vertical = time_of(
        [&] { kernels.vertical(taps.data(), y.axis(), kSize / 2, 3 * kSize, out[0]); }, 8000);
    std::printf(
        "%s\n{\"height\": %d, \"width\": %d, \"source_rows\": %d, \"source_bytes\": %ld, "
        "\"horizontal_groups\": %d, \"vertical_groups\": %d, \"horizontal_ns\": %.2f, "
        "\"vertical_ns\": %.2f}",
        separator, height, width, rows, 3L * rows * (x.in_end() - x.in_begin()), x.axis().groups,
        y.axis().groups, horizontal, vertical);
    separator = ",";
  }
  std::printf("]}\n");
  return 0;
}

// Several threads share a Preprocessor and a pool, while others make pools and destroy them. Built
// with -fsanitize=thread, which ends the program with an error where two threads touch the same
// memory unordered; it ends with 1 itself where a result is wrong. With the argument "race" the
// tasks share a counter without a lock.

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstring>
#include <deque>
#include <random>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "implementation.h"
#include "preprocessor.h"
#include "thread_pool.h"

namespace falconet {
namespace {

constexpr int kCallers = 4;
constexpr int kJobs = 60;  // of each caller, of each kind
constexpr std::size_t kLargest = 9;

std::atomic<int> wrong{0};
std::atomic<int> tasks_elsewhere{0};  // on another thread than the one that called

void expect(bool right, const char* what) {
  if (right) return;
  ++wrong;
  std::fprintf(stderr, "%s\n", what);
}

// With one color for all, so that any size can share it.
const std::vector<std::uint8_t> pixels(std::size_t{99} * 99 * 3, 7);

Image image(std::size_t i) {
  const int height = 11 + 7 * static_cast<int>(i);
  const int width = 95 - 6 * static_cast<int>(i);
  return {pixels.data(), height, width, 3, std::ptrdiff_t{3} * width, 3, 1};
}

class Batches {
 public:
  explicit Batches(const Kernels& kernels)
      : preprocessor_({{12, 10},
                       Fit::shorter,
                       {14, 14},
                       Crop::center,
                       {0, 0, 0},
                       Filter::bicubic,
                       Reference::pillow,
                       {0.1, 0.5, 0.9},
                       {0.25, 0.5, 1.5},
                       Layout::nchw,
                       Element::float32,
                       &kernels}),
        expected_(kLargest * preprocessor_.elements_per_image()) {
    for (std::size_t i = 0; i < kLargest; ++i) preprocess(i, &expected_);
  }

  // A batch of so many images, compared with the same ones alone.
  void run(ThreadPool* pool, std::size_t count) const {
    std::vector<float> batch(count * preprocessor_.elements_per_image());
    const std::thread::id caller = std::this_thread::get_id();
    pool->run(count, [&](std::size_t i) {
      preprocess(i, &batch);
      if (std::this_thread::get_id() != caller) ++tasks_elsewhere;
    });
    expect(std::equal(batch.begin(), batch.end(), expected_.begin()), "a batch differs");
  }

 private:
  void preprocess(std::size_t i, std::vector<float>* batch) const {
    preprocessor_.run(image(i), batch->data() + i * preprocessor_.elements_per_image());
  }

  Preprocessor preprocessor_;
  std::vector<float> expected_;
};

// Each task is called once, and no more touches `calls` when run() is back.
void count_calls(ThreadPool* pool, std::size_t count) {
  std::vector<int> calls(count);
  pool->run(count, [&](std::size_t i) { ++calls[i]; });
  for (const int n : calls) expect(n == 1, "a task was not called once");
}

// The same for a job of which tasks fail, the first or any other.
void fail(ThreadPool* pool, std::size_t count, std::size_t bad) {
  std::vector<int> calls(count);
  bool thrown = false;
  try {
    pool->run(count, [&](std::size_t i) {
      ++calls[i];
      if (i >= bad) throw std::runtime_error("task " + std::to_string(i));
    });
  } catch (const std::runtime_error& error) {
    thrown = std::string(error.what()).substr(0, 5) == "task ";
  }
  expect(thrown, "an exception was lost");
  for (std::size_t i = 0; i < count; ++i) {
    expect(i <= bad ? calls[i] == 1 : calls[i] <= 1, "a task was not called once before an error");
  }
}

// Two tasks that wait for each other, so that each is on a thread of its own.
void race(ThreadPool* pool) {
  int calls = 0;
  std::atomic<int> begun{0};
  pool->run(2, [&](std::size_t) {
    ++begun;
    while (begun < 2) std::this_thread::yield();
    ++calls;
  });
}

void call(ThreadPool* shared, const std::deque<Batches>& batches, int seed) {
  std::minstd_rand random(static_cast<unsigned>(seed));
  const auto up_to = [&](std::size_t most) { return 1 + random() % most; };
  for (int job = 0; job < kJobs; ++job) {
    for (const Batches& each : batches) each.run(shared, up_to(kLargest));
    count_calls(shared, up_to(100));
    const std::size_t count = up_to(20);
    fail(shared, count, up_to(count) - 1);
    if (job % 4 == 0) {
      ThreadPool own(1 + job % 3);
      if (job % 8 == 0) batches.front().run(&own, up_to(kLargest));
    }
  }
}

}  // namespace
}  // namespace falconet

int main(int argc, char** argv) {
  using namespace falconet;
  ThreadPool shared(3);
  if (argc > 1 && std::strcmp(argv[1], "race") == 0) {
    race(&shared);
    return 0;
  }
  std::deque<Batches> batches;
  for (const Kernels* kernels : implementations()) batches.emplace_back(*kernels);
  std::vector<std::thread> callers;
  for (int i = 0; i < kCallers; ++i) {
    callers.emplace_back([&, i] { call(&shared, batches, i + 1); });
  }
  for (std::thread& caller : callers) caller.join();
  std::printf("%d tasks on threads of the pool\n", tasks_elsewhere.load());
  return wrong == 0 ? 0 : 1;
}

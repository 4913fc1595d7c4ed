#pragma once

#include <condition_variable>
#include <cstddef>
#include <exception>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace falconet {

// A fixed number of threads that share the tasks of one job at a time. The thread that calls run()
// is one of them.
class ThreadPool {
 public:
  explicit ThreadPool(int threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  // Calls task(0) ... task(count - 1), each once, and returns when all are done. A job from another
  // thread waits for its turn. If tasks throw, the rest of the job is dropped and the first
  // exception is thrown here.
  void run(std::size_t count, const std::function<void(std::size_t)>& task);

 private:
  void stop();
  void serve();
  void work(std::unique_lock<std::mutex>& lock);

  std::mutex turn_;  // held by the job that runs

  std::mutex mutex_;  // guards all below
  std::condition_variable wake_;
  std::condition_variable done_;
  const std::function<void(std::size_t)>* task_ = nullptr;
  std::size_t next_ = 0;
  std::size_t count_ = 0;
  std::size_t running_ = 0;
  std::exception_ptr error_;
  bool stopped_ = false;

  std::vector<std::thread> threads_;
};

}  // namespace falconet

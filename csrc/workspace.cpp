#include "workspace.h"

#include <algorithm>

namespace falconet {
namespace {

// Per thread. A server sees few sizes of images often, and many once.
constexpr std::size_t kCachedCoefficients = 64;
constexpr std::size_t kCachedBytes = std::size_t{4} << 20;
constexpr std::size_t kKeptBytes = std::size_t{8} << 20;

}  // namespace

std::uint8_t* Buffer::get(std::size_t bytes) {
  if (bytes > this->bytes()) {
    release();  // first, so that there are never both
    lines_.resize((bytes + sizeof(CacheLine) - 1) / sizeof(CacheLine));
  }
  return lines_.front().bytes;
}

Workspace& Workspace::of_thread() {
  thread_local Workspace workspace;
  return workspace;
}

const Coefficients& Workspace::coefficients(const Coefficients::Key& key) {
  const auto found = std::find_if(cache_.begin(), cache_.end(),
                                  [&](const auto& cached) { return cached->key() == key; });
  if (found != cache_.end()) {
    std::rotate(cache_.begin(), found, found + 1);
    return *cache_.front();
  }
  cache_.insert(cache_.begin(), std::make_unique<Coefficients>(key));
  cached_bytes_ += cache_.front()->bytes();
  while (cache_.size() > 2 &&
         (cache_.size() > kCachedCoefficients || cached_bytes_ > kCachedBytes)) {
    cached_bytes_ -= cache_.back()->bytes();
    cache_.pop_back();
  }
  return *cache_.front();
}

void Workspace::trim() {
  for (Buffer* buffer : {&source, &edge, &ring, &rows}) {
    if (buffer->bytes() > kKeptBytes) buffer->release();
  }
  if (taps.capacity() * sizeof(taps[0]) > kKeptBytes) std::vector<const std::uint8_t*>().swap(taps);
  if (cached_bytes_ > kCachedBytes) {
    cache_.clear();
    cached_bytes_ = 0;
  }
}

}  // namespace falconet

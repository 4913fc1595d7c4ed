#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "coefficients.h"

namespace falconet {

// Memory that begins on a cache line, grows to what was needed most and is kept. Its contents are
// lost when it grows.
class Buffer {
 public:
  std::uint8_t* get(std::size_t bytes);
  std::size_t bytes() const { return lines_.size() * sizeof(CacheLine); }
  void release() { std::vector<CacheLine>().swap(lines_); }  // `= {}` would keep the memory

 private:
  std::vector<CacheLine> lines_;
};

// What one thread keeps from image to image, so that in the steady state nothing is allocated:
// the coefficients last used, and room for the rows in work.
class Workspace {
 public:
  // That of the calling thread.
  static Workspace& of_thread();

  // Valid until two other ones have been asked for.
  const Coefficients& coefficients(const Coefficients::Key& key);

  // Gives back what an exceptionally large image took.
  void trim();

  Buffer source;  // pixels brought side by side
  Buffer edge;    // the right ends of four rows, with room after them
  Buffer ring;    // the rows between the two passes
  Buffer rows;    // finished rows
  std::vector<const std::uint8_t*> taps;

 private:
  // The last used first.
  std::vector<std::unique_ptr<Coefficients>> cache_;
  std::size_t cached_bytes_ = 0;
};

}  // namespace falconet

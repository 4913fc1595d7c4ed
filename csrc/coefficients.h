#pragma once

#include <string>
#include <vector>

#include "filter.h"
#include "kernels.h"

namespace falconet {

// Whose arithmetic a resize follows to the last bit.
enum class Reference {
  pillow,  // Pillow 13
  torch,   // torch's kernel for uint8 tensors on a CPU with AVX2
};

// Throws std::invalid_argument for a name that is none of them.
Reference reference_from_name(const std::string& name);

// torch resizes with three of the filters. Throws std::invalid_argument for the others.
void check_torch_filter(Filter filter);

// The longest side, in pixels, that an image is resized to: kMaxSide, or for torch, whose
// precision depends on the weights of the whole side, however little of it is kept, what takes
// milliseconds.
int longest_side(Reference exact_as);

// The weights of one axis of a resize from `in_size` to `out_size` samples, for the output samples
// [begin, end).
class Coefficients {
 public:
  struct Key {
    int in_size;
    int out_size;
    Filter filter;
    Reference exact_as;
    int begin;
    int end;
    const Kernels* kernels;  // whose form the weights are in

    bool operator==(const Key& other) const;
  };

  explicit Coefficients(const Key& key);
  Coefficients(const Coefficients&) = delete;
  Coefficients& operator=(const Coefficients&) = delete;

  const Key& key() const { return key_; }
  const Axis& axis() const { return axis_; }
  std::size_t bytes() const;

  // The input samples [in_begin, in_end) that all output samples together need.
  int in_begin() const { return axis_.first[0]; }
  int in_end() const { return axis_.first[axis_.size - 1] + axis_.count[axis_.size - 1]; }
  int max_count() const { return max_count_; }

 private:
  Key key_;
  int max_count_ = 0;
  std::vector<int> first_;
  std::vector<int> count_;
  std::vector<CacheLine> groups_;  // four to each
  Axis axis_;
};

}  // namespace falconet

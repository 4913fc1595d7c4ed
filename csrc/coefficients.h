#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace falconet {

enum class Filter { box, bilinear, hamming, bicubic, lanczos };

// Throws std::invalid_argument for a name that is none of the five.
Filter filter_from_name(const std::string& name);

// Fixed point, as in Pillow: 32 bits less 8 for the pixel and 2 for what overshoots.
constexpr int kPrecisionBits = 32 - 8 - 2;

// Which input samples, and how much of each, make one output sample along one axis; for the output
// samples [begin, end) of an axis resized from in_size to out_size.
class Coefficients {
 public:
  Coefficients(int in_size, int out_size, Filter filter, int begin, int end);

  int first(int out) const { return first_[out - begin_]; }
  int count(int out) const { return count_[out - begin_]; }
  const std::int32_t* weights(int out) const {
    return weights_.data() + static_cast<std::size_t>(out - begin_) * max_count_;
  }

  // The input samples [in_begin, in_end) that all of them together need.
  int in_begin() const { return first_.front(); }
  int in_end() const { return first_.back() + count_.back(); }

 private:
  int begin_;
  int max_count_;
  std::vector<int> first_;
  std::vector<int> count_;
  std::vector<std::int32_t> weights_;
};

}  // namespace falconet

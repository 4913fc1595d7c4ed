// Fixed-point weights as in Pillow 13.0.0 (src/libImaging/Resample.c) and in torch's uint8 kernel
// (aten/src/ATen/native/cpu/UpSampleKernel.cpp), which takes over Pillow-SIMD's. They differ in the
// precision alone. Compile without FMA contraction, as filter.cpp: that is how Pillow's own wheels
// for x86-64 come out; on other processors its compiler may contract, and a weight differ by 2^-22.

#include "coefficients.h"

#include <algorithm>
#include <cmath>
#include <stdexcept>

#include "image.h"

namespace falconet {
namespace {

// 32 bits less 8 for the pixel and 2 for what overshoots.
constexpr int kMaxPrecision = 32 - 8 - 2;

// How an axis is resampled, in double precision.
class Resampling {
 public:
  explicit Resampling(const Coefficients::Key& key)
      : in_size_(key.in_size),
        filter_(key.filter),
        scale_(static_cast<double>(key.in_size) / key.out_size),
        // Shrinking widens the filter so that every input sample counts; enlarging does not narrow
        // it.
        filter_scale_(std::max(scale_, 1.0)),
        support_(support_of(filter_) * filter_scale_) {}

  int first(int out) const { return std::max(0, static_cast<int>(center(out) - support_ + 0.5)); }

  int count(int out) const {
    return std::min(in_size_, static_cast<int>(center(out) + support_ + 0.5)) - first(out);
  }

  // They add up to one.
  void weights(int out, std::vector<double>* weights) const {
    const double inverse_filter_scale = 1.0 / filter_scale_;
    const int first = this->first(out);
    weights->resize(count(out));
    double sum = 0.0;
    for (std::size_t i = 0; i < weights->size(); ++i) {
      const double place = static_cast<double>(static_cast<int>(i) + first);
      (*weights)[i] = evaluate(filter_, (place - center(out) + 0.5) * inverse_filter_scale);
      sum += (*weights)[i];
    }
    if (sum == 0.0) return;
    for (double& weight : *weights) weight /= sum;
  }

 private:
  double center(int out) const { return (out + 0.5) * scale_; }

  int in_size_;
  Filter filter_;
  double scale_;
  double filter_scale_;
  double support_;
};

// torch takes as many bits as leave the largest weight of the whole axis below 2^15.
int torch_precision(double largest) {
  int precision = 0;
  while (precision < kMaxPrecision &&
         static_cast<int>(0.5 + largest * (1 << (precision + 1))) < 1 << 15) {
    ++precision;
  }
  return precision;
}

std::int32_t to_fixed_point(double weight, int precision) {
  const double scaled = weight * (1 << precision);
  return static_cast<std::int32_t>(weight < 0 ? scaled - 0.5 : scaled + 0.5);
}

int rounded_up(int number, int multiple) { return (number + multiple - 1) / multiple * multiple; }

}  // namespace

Reference reference_from_name(const std::string& name) {
  if (name == "pillow") return Reference::pillow;
  if (name == "torch") return Reference::torch;
  throw std::invalid_argument("exact_as: expected 'pillow' or 'torch', got '" + name + "'");
}

void check_torch_filter(Filter filter) {
  if (filter == Filter::box || filter == Filter::hamming) {
    throw std::invalid_argument(
        "exact_as: expected 'pillow' for the filters 'box' and 'hamming', which torch does not "
        "have, "
        "got 'torch'");
  }
}

int longest_side(Reference exact_as) { return exact_as == Reference::torch ? 1 << 16 : kMaxSide; }

bool Coefficients::Key::operator==(const Key& other) const {
  return in_size == other.in_size && out_size == other.out_size && filter == other.filter &&
         exact_as == other.exact_as && begin == other.begin && end == other.end &&
         kernels == other.kernels;
}

Coefficients::Coefficients(const Key& key) : key_(key) {
  const Resampling resampling(key);
  const int size = key.end - key.begin;
  const int padded_size = rounded_up(size, 4);
  // Of the outputs that are needed, one after another.
  std::vector<double> all;
  double largest = 0.0;
  std::vector<double> weights;
  const bool whole = key.exact_as == Reference::torch;
  for (int out = whole ? 0 : key.begin; out < (whole ? key.out_size : key.end); ++out) {
    resampling.weights(out, &weights);
    for (const double weight : weights) largest = std::max(largest, weight);
    if (out < key.begin || out >= key.end) continue;
    all.insert(all.end(), weights.begin(), weights.end());
    first_.push_back(resampling.first(out));
    count_.push_back(static_cast<int>(weights.size()));
    max_count_ = std::max(max_count_, count_.back());
  }
  const int precision = whole ? torch_precision(largest) : kMaxPrecision;
  // Those added repeat the last place, where there is something to read, with no weight. Kernels
  // read eight places at a time, from anywhere.
  first_.resize(padded_size + 8, first_.back());
  count_.resize(padded_size, 0);

  const int groups = rounded_up(max_count_, 4) / 4;
  groups_.resize(static_cast<std::size_t>(groups) * padded_size / 4);
  auto* const tap_groups = reinterpret_cast<TapGroup*>(groups_.data());
  std::vector<std::int32_t> fixed(4 * static_cast<std::size_t>(groups));
  const double* next = all.data();
  for (int i = 0; i < size; ++i, next += count_[i - 1]) {
    std::fill(fixed.begin(), fixed.end(), 0);
    std::transform(next, next + count_[i], fixed.begin(),
                   [&](double weight) { return to_fixed_point(weight, precision); });
    for (int group = 0; group < groups; ++group) {
      key.kernels->split(fixed.data() + 4 * group,
                         tap_groups + static_cast<std::size_t>(group) * padded_size + i);
    }
  }
  int span_of_2 = 0;
  int span_of_4 = 0;
  int span_of_5 = 0;
  for (int i = 0; i < padded_size; i += 4) {
    const int* first = &first_[i];
    span_of_2 = std::max({span_of_2, first[1] - first[0], first[3] - first[2]});
    span_of_4 = std::max(span_of_4, first[3] - first[0]);
  }
  for (int i = 0; i + 4 < size; ++i) span_of_5 = std::max(span_of_5, first_[i + 4] - first_[i]);
  axis_ = {size,      padded_size, first_.data(), count_.data(), groups,
           span_of_2, span_of_4,   span_of_5,     tap_groups,    precision};
}

std::size_t Coefficients::bytes() const {
  return groups_.size() * sizeof(CacheLine) + (first_.size() + count_.size()) * sizeof(int);
}

}  // namespace falconet

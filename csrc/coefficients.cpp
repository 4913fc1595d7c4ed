// The filters and the fixed-point weights of Pillow's resampling (Pillow 13.0.0,
// src/libImaging/Resample.c), whose results `resize` has to equal to the last bit. The order of
// every floating-point operation matters here: compile without FMA contraction
// (-ffp-contract=off) and without -ffast-math. That is how Pillow's own wheels for x86-64 come out;
// on other processors its compiler may contract, and a weight differ by 2^-22.

#include "coefficients.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <stdexcept>
#include <utility>

namespace falconet {
namespace {

constexpr double kPi = 3.14159265358979323846;

constexpr std::array<std::pair<Filter, const char*>, 5> kFilters = {{
    {Filter::box, "box"},
    {Filter::bilinear, "bilinear"},
    {Filter::hamming, "hamming"},
    {Filter::bicubic, "bicubic"},
    {Filter::lanczos, "lanczos"},
}};

// Half the filter's width, in input samples when enlarging.
double support_of(Filter filter) {
  switch (filter) {
    case Filter::box:
      return 0.5;
    case Filter::bilinear:
    case Filter::hamming:
      return 1.0;
    case Filter::bicubic:
      return 2.0;
    case Filter::lanczos:
      return 3.0;
  }
  throw std::logic_error("unreachable filter");
}

double sinc(double x) {
  if (x == 0.0) return 1.0;
  x *= kPi;
  return std::sin(x) / x;
}

double hamming(double x) {
  x = std::fabs(x);
  if (x == 0.0) return 1.0;
  if (x >= 1.0) return 0.0;
  // The window's constants are single precision in Pillow, and so in the result.
  return sinc(x) * (0.54f + 0.46f * std::cos(x * kPi));
}

double bicubic(double x) {
  constexpr double a = -0.5;
  x = std::fabs(x);
  if (x < 1.0) return ((a + 2.0) * x - (a + 3.0)) * x * x + 1.0;
  if (x < 2.0) return (((x - 5.0) * x + 8.0) * x - 4.0) * a;
  return 0.0;
}

double evaluate(Filter filter, double x) {
  switch (filter) {
    case Filter::box:
      return x > -0.5 && x <= 0.5 ? 1.0 : 0.0;
    case Filter::bilinear:
      return std::max(0.0, 1.0 - std::fabs(x));
    case Filter::hamming:
      return hamming(x);
    case Filter::bicubic:
      return bicubic(x);
    case Filter::lanczos:
      return -3.0 <= x && x < 3.0 ? sinc(x) * sinc(x / 3.0) : 0.0;
  }
  throw std::logic_error("unreachable filter");
}

std::int32_t to_fixed_point(double weight) {
  const double scaled = weight * (1 << kPrecisionBits);
  return static_cast<std::int32_t>(weight < 0 ? scaled - 0.5 : scaled + 0.5);
}

}  // namespace

Filter filter_from_name(const std::string& name) {
  for (const auto& [filter, known] : kFilters) {
    if (name == known) return filter;
  }
  throw std::invalid_argument(
      "filter: expected 'box', 'bilinear', 'hamming', 'bicubic' or 'lanczos', got '" + name + "'");
}

Coefficients::Coefficients(int in_size, int out_size, Filter filter, int begin, int end)
    : begin_(begin) {
  const double scale = static_cast<double>(in_size) / out_size;
  // Shrinking widens the filter so that every input sample counts; enlarging does not narrow it.
  const double filter_scale = std::max(scale, 1.0);
  const double inverse_filter_scale = 1.0 / filter_scale;
  const double support = support_of(filter) * filter_scale;

  max_count_ = std::min(in_size, static_cast<int>(std::ceil(support)) * 2 + 1);
  first_.reserve(end - begin);
  count_.reserve(end - begin);
  weights_.assign(static_cast<std::size_t>(end - begin) * max_count_, 0);

  std::vector<double> window(max_count_);
  for (int out = begin; out < end; ++out) {
    const double center = (out + 0.5) * scale;
    const int first = std::max(0, static_cast<int>(center - support + 0.5));
    const int count = std::min(in_size, static_cast<int>(center + support + 0.5)) - first;
    double sum = 0.0;
    for (int i = 0; i < count; ++i) {
      window[i] = evaluate(filter, (i + first - center + 0.5) * inverse_filter_scale);
      sum += window[i];
    }
    first_.push_back(first);
    count_.push_back(count);
    std::int32_t* fixed = weights_.data() + static_cast<std::size_t>(out - begin) * max_count_;
    for (int i = 0; i < count; ++i) {
      fixed[i] = to_fixed_point(sum != 0.0 ? window[i] / sum : window[i]);
    }
  }
}

}  // namespace falconet

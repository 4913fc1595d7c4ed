// The filters of Pillow's resampling (Pillow 13.0.0, src/libImaging/Resample.c); torch's are the
// same. Results are equal to the last bit only if every floating-point operation is, in this order:
// compile without FMA contraction (-ffp-contract=off) and without -ffast-math.

#include "filter.h"

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

}  // namespace

Filter filter_from_name(const std::string& name) {
  for (const auto& [filter, known] : kFilters) {
    if (name == known) return filter;
  }
  std::string names;
  for (const auto& each : kFilters) {
    names += (names.empty() ? "'" : ", '") + std::string(each.second) + "'";
  }
  throw std::invalid_argument("filter: expected one of " + names + ", got '" + name + "'");
}

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

}  // namespace falconet

#include "preprocessor.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <stdexcept>

#include "workspace.h"

namespace falconet {
namespace {

// Where one axis of the crop lies in the resized image, and what has to be padded before it.
struct Span {
  int start;
  int length;
  int padding;
};

Span center(int available, int wanted, Crop crop) {
  const bool floor = crop == Crop::center_floor;
  if (wanted >= available) return {0, available, (wanted - available + (floor ? 1 : 0)) / 2};
  const double half = (available - wanted) / 2.0;
  return {static_cast<int>(floor ? half : std::nearbyint(half)), wanted, 0};
}

void check(const Preprocessor::Options& options) {
  const std::vector<double>& mean = options.mean;
  const std::vector<double>& std = options.std;
  if (mean.size() != std.size()) {
    throw std::invalid_argument("mean and std: expected one number per channel in each, got " +
                                std::to_string(mean.size()) + " and " + std::to_string(std.size()));
  }
  if (mean.size() != 1 && mean.size() != 3 && mean.size() != 4) {
    throw std::invalid_argument("mean and std: expected 1, 3 or 4 channels, got " +
                                std::to_string(mean.size()));
  }
  for (std::size_t c = 0; c < mean.size(); ++c) {
    if (!std::isfinite(mean[c])) {
      throw std::invalid_argument("mean: expected finite numbers, got " + std::to_string(mean[c]));
    }
    if (!(std[c] > 0) || !std::isfinite(std[c])) {
      throw std::invalid_argument("std: expected finite numbers above zero, got " +
                                  std::to_string(std[c]));
    }
    // Half the range, so that rounding to bfloat16 stays in it as well.
    if ((std::fabs(mean[c]) + 1) / std[c] > std::numeric_limits<float>::max() / 2) {
      throw std::invalid_argument("std: expected numbers that leave the result finite, got " +
                                  std::to_string(std[c]));
    }
  }
  if (options.fill.size() != mean.size()) {
    throw std::invalid_argument("fill: expected one byte per channel, got " +
                                std::to_string(options.fill.size()) + " for " +
                                std::to_string(mean.size()));
  }
  if (options.exact_as == Reference::torch) check_torch_filter(options.filter);
  const int longest = longest_side(options.exact_as);
  if (std::max({options.size.height, options.size.width, options.resize.height,
                options.resize.width}) > longest) {
    throw std::invalid_argument("size and resize: expected at most " + std::to_string(longest) +
                                " pixels with exact_as='torch'");
  }
}

// In timm's order of operations, on which the last bit of a quotient depends.
Size with_longer_side(Size image, int longer_side) {
  const double ratio = std::max(image.height / static_cast<double>(longer_side),
                                image.width / static_cast<double>(longer_side));
  const auto scaled = [&](int side) {
    return std::max(1, static_cast<int>(std::nearbyint(side / ratio)));
  };
  return {scaled(image.height), scaled(image.width)};
}

}  // namespace

Preprocessor::Preprocessor(const Options& options) : options_(options) {
  check(options);
  const int channels = static_cast<int>(options.mean.size());
  normalization_.channels = channels;
  for (int i = 0; i < kPattern; ++i) {
    const double std = options.std[i % channels];
    normalization_.scale[i] = static_cast<float>(1.0 / (255.0 * std));
    normalization_.bias[i] = static_cast<float>(-options.mean[i % channels] / std);
  }
  table_.resize(256 * static_cast<std::size_t>(channels));
  for (std::size_t i = 0; i < table_.size(); ++i) {
    const float byte = static_cast<float>(i % 256);
    table_[i] = std::fma(byte, normalization_.scale[i / 256], normalization_.bias[i / 256]);
  }
  normalization_.table = table_.data();
}

Size Preprocessor::resized(Size image) const {
  if (options_.fit == Fit::both) return options_.resize;
  if (options_.fit == Fit::longer) return with_longer_side(image, options_.resize.height);
  const int shorter_side = options_.resize.height;
  const bool portrait = image.width <= image.height;
  const int shorter = portrait ? image.width : image.height;
  const int longer = portrait ? image.height : image.width;
  const double length =
      static_cast<double>(static_cast<std::int64_t>(shorter_side) * longer) / shorter;
  const int longest = longest_side(options_.exact_as);
  if (length > longest) {
    throw std::invalid_argument("an image of " + std::to_string(image.height) + "x" +
                                std::to_string(image.width) + " with its shorter side resized to " +
                                std::to_string(shorter_side) + " would be more than " +
                                std::to_string(longest) + " long");
  }
  const int other = static_cast<int>(length);
  return portrait ? Size{other, shorter_side} : Size{shorter_side, other};
}

void Preprocessor::run(const Image& image, void* out) const {
  const Size size = options_.size;
  const Size full = resized({image.height, image.width});
  const Span rows = center(full.height, size.height, options_.crop);
  const Span columns = center(full.width, size.width, options_.crop);
  const Window window{rows.start, columns.start, rows.length, columns.length};
  if (!(Size{window.height, window.width} == size)) pad(out);

  const bool planar = options_.layout == Layout::nchw;
  const std::ptrdiff_t per_pixel = planar ? 1 : channels();
  const std::ptrdiff_t start =
      (static_cast<std::ptrdiff_t>(rows.padding) * size.width + columns.padding) * per_pixel;
  const Destination first_row = {static_cast<char*>(out) + start * bytes_of(options_.element),
                                 options_.element, options_.layout,
                                 static_cast<std::ptrdiff_t>(size.height) * size.width};
  falconet::run(image, {full, window, options_.filter, options_.exact_as}, *options_.kernels,
                {first_row, size.width * per_pixel, &normalization_});
}

// All of one color, row by row.
void Preprocessor::pad(void* out) const {
  const std::ptrdiff_t width = options_.size.width;
  const std::ptrdiff_t plane = width * options_.size.height;
  const std::ptrdiff_t row = options_.layout == Layout::nchw ? width : width * channels();
  const std::size_t bytes = static_cast<std::size_t>(width) * channels();
  std::uint8_t* color = Workspace::of_thread().rows.get(bytes);
  for (std::size_t i = 0; i < bytes; ++i) color[i] = options_.fill[i % options_.fill.size()];
  for (std::ptrdiff_t y = 0; y < options_.size.height; ++y) {
    char* start = static_cast<char*>(out) + y * row * bytes_of(options_.element);
    options_.kernels->normalize(color, width, normalization_,
                                {start, options_.element, options_.layout, plane});
  }
}

}  // namespace falconet

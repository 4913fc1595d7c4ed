#include "pipeline.h"

#include <algorithm>
#include <cstring>

#include "workspace.h"

namespace falconet {
namespace {

// The length of a row in a buffer, with what kernels may write after it. An odd number of cache
// lines, so that successive rows do not compete for the same places in the cache.
std::size_t padded_row(std::size_t bytes) { return (bytes + kOverwrite + 63) / 64 * 64 | 64; }

// Outputs [begin, end) of an axis.
Axis part_of(const Axis& axis, int begin, int end) {
  Axis part = axis;
  part.size = end - begin;
  part.first += begin;
  part.count += begin;
  part.weights += begin;
  return part;
}

// Rows of pixels, those of input columns [left, right).
struct Rows {
  const std::uint8_t* data;  // channel 0 of the first pixel of row `top`
  std::ptrdiff_t stride;
  int top;
  int left;
  int right;
  Spread spread;

  const std::uint8_t* row(int y) const { return data + (y - top) * stride; }
  const std::uint8_t* at(int y, int x) const { return row(y) + (x - left) * spread.pixel_stride; }
};

Image in_memory_order(const Image& image) {
  Image other = image;
  other.data += image.spread().lowest();
  other.channel_stride = 1;
  return other;
}

class Pipeline {
 public:
  Pipeline(const Image& image, const Geometry& geometry, const Kernels& kernels,
           const Target& target)
      : image_(image.spread().reversed() ? in_memory_order(image) : image),
        reversed_(image.spread().reversed()),
        geometry_(geometry),
        window_(geometry.window),
        channels_(image.channels),
        packed_{image.channels, image.channels, 1},
        kernels_(kernels),
        target_(target),
        workspace_(Workspace::of_thread()) {}

  void run() {
    const bool horizontal = geometry_.size.width != image_.width;
    const bool vertical = geometry_.size.height != image_.height;
    const Coefficients* x = horizontal ? &columns() : nullptr;
    const Coefficients* y = vertical ? &rows() : nullptr;
    const Rows source = this->source(x, y);
    if (x != nullptr && y != nullptr) {
      if (vertical_first()) {
        run_vertical_first(source, *x, *y);
      } else {
        run_horizontal_first(source, *x, *y);
      }
    } else if (x != nullptr) {
      run_horizontal(source, *x);
    } else if (y != nullptr) {
      run_vertical(source, *y);
    } else {
      run_unresized(source);
    }
    workspace_.trim();
  }

 private:
  const Coefficients& columns() {
    return workspace_.coefficients({image_.width, geometry_.size.width, geometry_.filter,
                                    geometry_.exact_as, window_.left, window_.left + window_.width,
                                    &kernels_});
  }

  const Coefficients& rows() {
    return workspace_.coefficients({image_.height, geometry_.size.height, geometry_.filter,
                                    geometry_.exact_as, window_.top, window_.top + window_.height,
                                    &kernels_});
  }

  // Pillow 13 runs the vertical pass first where that takes off more than twice as many rows as the
  // horizontal one takes off columns. The order shows in the result, because each pass rounds. It
  // is decided on the whole image, not on the window. torch never does.
  bool vertical_first() const {
    if (geometry_.exact_as == Reference::torch) return false;
    const int shrink_height = image_.height - geometry_.size.height;
    const int shrink_width = image_.width - geometry_.size.width;
    return shrink_height > 0 && shrink_height > 2 * static_cast<std::int64_t>(shrink_width);
  }

  // The image's own memory, or, where its samples lie in no usual way, a packed copy of what is
  // needed.
  Rows source(const Coefficients* x, const Coefficients* y) {
    const Spread spread = image_.spread();
    if (spread.packed() || spread.interleaved() || spread.planar()) {
      return {image_.data, image_.row_stride, 0, 0, image_.width, spread};
    }
    const int left = x != nullptr ? x->in_begin() : window_.left;
    const int right = x != nullptr ? x->in_end() : window_.left + window_.width;
    const int top = y != nullptr ? y->in_begin() : window_.top;
    const int bottom = y != nullptr ? y->in_end() : window_.top + window_.height;
    const std::size_t stride = row_bytes(right - left);
    std::uint8_t* copy = workspace_.source.get(stride * (bottom - top) + kOverwrite);
    for (int row = top; row < bottom; ++row) {
      kernels_.pack(image_.row(row) + left * image_.pixel_stride, right - left, spread,
                    copy + (row - top) * stride);
    }
    return {copy, static_cast<std::ptrdiff_t>(stride), top, left, right, packed_};
  }

  std::size_t row_bytes(int width) const { return static_cast<std::size_t>(width) * channels_; }

  // Rows of the source into a ring, from there across to a row, and to the batch.
  void run_horizontal_first(const Rows& source, const Coefficients& x, const Coefficients& y) {
    // Rows are made four at a time, the first of them not before it is needed.
    const int ring_rows = (y.max_count() + 3 + 3) / 4 * 4;
    const std::size_t stride = padded_row(row_bytes(window_.width));
    std::uint8_t* ring = workspace_.ring.get(stride * ring_rows);
    std::uint8_t* finished = workspace_.rows.get(stride);
    // The ring's rows, and once more after the last, so that any successive ones can be pointed to.
    std::vector<const std::uint8_t*>& slots = workspace_.taps;
    slots.resize(2 * static_cast<std::size_t>(ring_rows));
    for (int i = 0; i < 2 * ring_rows; ++i) slots[i] = ring + i % ring_rows * stride;
    const Axis& axis = y.axis();
    int made = y.in_begin();
    std::uint8_t* next = ring;
    for (int row = 0; row < window_.height; ++row) {
      const int first = axis.first[row];
      for (; made < first + axis.count[row]; made += 4) {
        std::uint8_t* const out[4] = {next, next + stride, next + 2 * stride, next + 3 * stride};
        horizontal(source, made, y.in_end(), x.axis(), out);
        next += 4 * stride;
        if (next == ring + ring_rows * stride) next = ring;
      }
      kernels_.vertical(slots.data() + (first - y.in_begin()) % ring_rows, axis, row,
                        static_cast<std::ptrdiff_t>(row_bytes(window_.width)), finished);
      store(row, finished);
    }
  }

  // Rows across into four rows, those along, and to the batch.
  void run_vertical_first(const Rows& source, const Coefficients& x, const Coefficients& y) {
    const int left = x.in_begin();
    const int width = x.in_end() - left;
    const std::size_t slack = 4 * row_bytes(x.axis().groups) + kOverread;
    const std::size_t stride = padded_row(row_bytes(width) + slack);
    std::uint8_t* shrunk = workspace_.ring.get(4 * stride);
    // There are bytes to read past the right end, which have no weight.
    const Rows between = {shrunk, static_cast<std::ptrdiff_t>(stride),         0,
                          left,   left + static_cast<int>(stride / channels_), packed_};
    for (int top = 0; top < window_.height; top += 4) {
      const int count = std::min(4, window_.height - top);
      for (int i = 0; i < count; ++i) {
        vertical(source, left, width, y.axis(), top + i, shrunk + i * stride);
      }
      finish_four(between, 0, count, x.axis(), top);
    }
  }

  void run_horizontal(const Rows& source, const Coefficients& x) {
    for (int top = 0; top < window_.height; top += 4) {
      const int count = std::min(4, window_.height - top);
      finish_four(source, window_.top + top, window_.top + top + count, x.axis(), top);
    }
  }

  void run_vertical(const Rows& source, const Coefficients& y) {
    std::uint8_t* finished = workspace_.rows.get(padded_row(row_bytes(window_.width)));
    for (int row = 0; row < window_.height; ++row) {
      vertical(source, window_.left, window_.width, y.axis(), row, finished);
      store(row, finished);
    }
  }

  void run_unresized(const Rows& source) {
    const auto row_at = [&](int row) { return source.at(window_.top + row, window_.left); };
    if (!source.spread.packed()) {
      std::uint8_t* packed = workspace_.rows.get(padded_row(row_bytes(window_.width)));
      for (int row = 0; row < window_.height; ++row) {
        kernels_.pack(row_at(row), window_.width, source.spread, packed);
        store(row, packed);
      }
      return;
    }
    // Where rows follow one another on both sides, they are one long row.
    const Destination& out = target_.first_row;
    const std::ptrdiff_t elements_per_pixel = out.layout == Layout::nchw ? 1 : channels_;
    if (!reversed_ && source.stride == static_cast<std::ptrdiff_t>(row_bytes(window_.width)) &&
        target_.row_stride == window_.width * elements_per_pixel) {
      return store(0, row_at(0), static_cast<std::ptrdiff_t>(window_.height) * window_.width);
    }
    for (int row = 0; row < window_.height; ++row) store(row, row_at(row));
  }

  // One packed output row out of the source's, for columns [left, left + width). It does not matter
  // to the kernel what the bytes of a row are, so they are packed after it, which are fewer.
  void vertical(const Rows& source, int left, int width, const Axis& axis, int row,
                std::uint8_t* out) {
    const Spread& spread = source.spread;
    if (spread.packed()) return vertical_bytes(source, left, 0, row_bytes(width), axis, row, out);
    if (spread.planar()) {
      const std::size_t plane = padded_row(width);
      std::uint8_t* planes = workspace_.source.get(channels_ * plane);
      for (int c = 0; c < channels_; ++c) {
        vertical_bytes(source, left, c * spread.channel_stride, width, axis, row,
                       planes + c * plane);
      }
      return kernels_.pack(planes, width, {channels_, 1, static_cast<std::ptrdiff_t>(plane)}, out);
    }
    const std::size_t bytes = (width - 1) * spread.pixel_stride + channels_;
    std::uint8_t* pixels = workspace_.source.get(bytes);
    vertical_bytes(source, left, spread.lowest(), bytes, axis, row, pixels);
    kernels_.pack(pixels - spread.lowest(), width, spread, out);
  }

  // `offset` is from channel 0 of the pixels in column `left` to the first of the bytes.
  void vertical_bytes(const Rows& source, int left, std::ptrdiff_t offset, std::size_t bytes,
                      const Axis& axis, int row, std::uint8_t* out) {
    workspace_.taps.resize(static_cast<std::size_t>(axis.groups) * 4);
    const int last = axis.first[row] + axis.count[row] - 1;
    for (std::size_t i = 0; i < workspace_.taps.size(); ++i) {
      const int y = std::min(axis.first[row] + static_cast<int>(i), last);
      workspace_.taps[i] = source.at(y, left) + offset;
    }
    kernels_.vertical(workspace_.taps.data(), axis, row, static_cast<std::ptrdiff_t>(bytes), out);
  }

  // Up to four rows, from `top` to `end`, along and to the batch, from its row `to` on.
  void finish_four(const Rows& from, int top, int end, const Axis& axis, int to) {
    const std::size_t stride = padded_row(row_bytes(window_.width));
    std::uint8_t* finished = workspace_.rows.get(4 * stride);
    std::uint8_t* const out[4] = {finished, finished + stride, finished + 2 * stride,
                                  finished + 3 * stride};
    horizontal(from, top, end, axis, out);
    for (int i = 0; i < end - top; ++i) store(to + i, out[i]);
  }

  // Four rows along. Where there are less than four before `end`, the last is repeated.
  void horizontal(const Rows& rows, int top, int end, const Axis& axis,
                  std::uint8_t* const out[4]) {
    const Rows from = rows.spread.packed() ? rows : four_packed(rows, top, end, axis);
    const std::uint8_t* in[4];
    for (int i = 0; i < 4; ++i) in[i] = from.row(std::min(top + i, end - 1));
    const Upcoming next = top + 4 < end ? upcoming(rows, top + 4, from.left) : Upcoming{};
    const int whole = readable(axis, from);
    if (whole > 0) {
      kernels_.horizontal(in, next, from.left, channels_, part_of(axis, 0, whole), out);
    }
    if (whole < axis.size) horizontal_edge(in, from, part_of(axis, whole, axis.size), whole, out);
  }

  // Up to four rows before `end`, packed, with bytes to read past the right end, which have no
  // weight.
  Rows four_packed(const Rows& from, int top, int end, const Axis& axis) {
    const int left = axis.first[0];
    const int right = axis.first[axis.size - 1] + axis.count[axis.size - 1];
    const std::size_t slack = 4 * row_bytes(axis.groups) + kOverread;
    const std::size_t stride = padded_row(row_bytes(right - left) + slack);
    std::uint8_t* packed = workspace_.source.get(4 * stride);
    const int count = std::min(4, end - top);
    for (int i = 0; i < count; ++i) {
      kernels_.pack(from.at(top + i, left), right - left, from.spread, packed + i * stride);
    }
    return {packed, static_cast<std::ptrdiff_t>(stride),         top,
            left,   left + static_cast<int>(stride / channels_), packed_};
  }

  // Four rows from `top` on, from column `left`.
  Upcoming upcoming(const Rows& rows, int top, int left) const {
    Upcoming next = {{}, 0, rows.spread.pixel_stride};
    const int planes = rows.spread.planar() ? channels_ : 1;
    for (int i = 0; i < 4 * planes; ++i) {
      const std::ptrdiff_t offset = (top - rows.top + i % 4) * rows.stride +
                                    (left - rows.left) * rows.spread.pixel_stride +
                                    i / 4 * rows.spread.channel_stride;
      next.rows[next.count++] =
          reinterpret_cast<std::uintptr_t>(rows.data) + static_cast<std::uintptr_t>(offset);
    }
    return next;
  }

  // How many outputs a kernel can compute without reading past the end of a row.
  int readable(const Axis& axis, const Rows& from) const {
    const std::ptrdiff_t end = static_cast<std::ptrdiff_t>(from.right) * channels_ - kOverread;
    const auto fits = [&](int output) {
      return (static_cast<std::ptrdiff_t>(axis.first[output]) + 4 * axis.groups) * channels_ <= end;
    };
    if (fits(axis.size - 1)) return axis.size;
    int outputs = axis.size / 4 * 4;
    while (outputs > 0 && !fits(outputs - 1)) outputs -= 4;
    return outputs;
  }

  // The right ends of four rows along, from a copy with room after them.
  void horizontal_edge(const std::uint8_t* const in[4], const Rows& from, const Axis& axis,
                       int output, std::uint8_t* const out[4]) {
    const int left = axis.first[0];
    const std::size_t bytes = row_bytes(axis.first[axis.size - 1] + 4 * axis.groups - left);
    const std::size_t stride = bytes + kOverread;
    const std::size_t copied = std::min(row_bytes(from.right - left), stride);
    std::uint8_t* edge = workspace_.edge.get(4 * stride);
    const std::uint8_t* edge_in[4];
    std::uint8_t* edge_out[4];
    for (int i = 0; i < 4; ++i) {
      std::uint8_t* row = edge + i * stride;
      std::memcpy(row, in[i] + row_bytes(left - from.left), copied);
      std::memset(row + copied, 0, stride - copied);
      edge_in[i] = row;
      edge_out[i] = out[i] + row_bytes(output);
    }
    kernels_.horizontal(edge_in, Upcoming{}, left, channels_, axis, edge_out);
  }

  void store(int row, const std::uint8_t* bytes) { store(row, bytes, window_.width); }

  void store(int row, const std::uint8_t* bytes, std::ptrdiff_t pixels) {
    Destination out = target_.first_row;
    out.data = static_cast<char*>(out.data) + row * target_.row_stride * bytes_of(out.element);
    if (reversed_) {
      std::uint8_t* turned = workspace_.source.get(padded_row(row_bytes(window_.width)));
      kernels_.pack(bytes + channels_ - 1, pixels, {channels_, channels_, -1}, turned);
      bytes = turned;
    }
    if (out.element == Element::uint8) {
      std::memcpy(out.data, bytes, static_cast<std::size_t>(pixels) * channels_);
    } else {
      kernels_.normalize(bytes, pixels, *target_.normalization, out);
    }
  }

  const Image image_;
  const bool reversed_;  // what is made of it is to be in the opposite order
  const Geometry& geometry_;
  const Window& window_;
  const int channels_;
  const Spread packed_;
  const Kernels& kernels_;
  const Target& target_;
  Workspace& workspace_;
};

}  // namespace

void run(const Image& image, const Geometry& geometry, const Kernels& kernels,
         const Target& target) {
  Pipeline(image, geometry, kernels, target).run();
}

}  // namespace falconet

#pragma once

#include "coefficients.h"
#include "image.h"
#include "kernels.h"

namespace falconet {

// What to make of an image: resized as a whole to `size`, then cut to `window`.
struct Geometry {
  Size size;
  Window window;
  Filter filter;
  Reference exact_as;
};

// Where the window's pixels go, and as what.
struct Target {
  Destination first_row;
  std::ptrdiff_t row_stride;           // in elements
  const Normalization* normalization;  // null for bytes, which are interleaved
};

// Resizes, cuts and normalizes an image from its memory to its place in the batch. Rows pass
// through one by one: those between the two passes are kept in a ring as long as they are needed,
// so that all but the image and the batch stays in the processor's caches.
//
// Throws std::bad_alloc, with some rows written. Any number of threads may do so at a time.
void run(const Image& image, const Geometry& geometry, const Kernels& kernels,
         const Target& target);

}  // namespace falconet

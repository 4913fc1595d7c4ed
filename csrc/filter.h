#pragma once

#include <string>

namespace falconet {

enum class Filter { box, bilinear, hamming, bicubic, lanczos };

// Throws std::invalid_argument for a name that is none of the five.
Filter filter_from_name(const std::string& name);

// Half the filter's width, in input samples when enlarging.
double support_of(Filter filter);

// The filter's value at `x`, in input samples from its center when enlarging.
double evaluate(Filter filter, double x);

}  // namespace falconet

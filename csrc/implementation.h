#pragma once

#include <string>
#include <vector>

#include "kernels.h"

namespace falconet {

// Those that this processor can run, the fastest first. "scalar" is always the last.
const std::vector<const Kernels*>& implementations();

// The one of that name, or the fastest for "". Throws std::invalid_argument for a name that is none
// of implementations().
const Kernels& implementation_from_name(const std::string& name);

}  // namespace falconet

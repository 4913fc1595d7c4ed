#include "implementation.h"

#include <stdexcept>

namespace falconet {

const std::vector<const Kernels*>& implementations() {
  static const std::vector<const Kernels*> supported = [] {
    std::vector<const Kernels*> found;
    for (const Kernels* kernels : {
#if defined(__x86_64__)
             &kAvx512Kernels, &kAvx2Kernels,
#elif defined(__aarch64__)
             &kNeonKernels,
#endif
             &kScalarKernels}) {
      if (kernels->supported()) found.push_back(kernels);
    }
    return found;
  }();
  return supported;
}

const Kernels& implementation_from_name(const std::string& name) {
  if (name.empty()) return *implementations().front();
  std::string known;
  for (const Kernels* kernels : implementations()) {
    if (name == kernels->name) return *kernels;
    known += (known.empty() ? "'" : ", '") + std::string(kernels->name) + "'";
  }
  throw std::invalid_argument("implementation: expected one that this processor can run, " + known +
                              ", got '" + name + "'");
}

}  // namespace falconet

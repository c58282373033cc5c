// Stand-in for Vitis' header of the same name, as far as the kernels need it.
#pragma once
#include <cmath>

namespace hls {

using std::sqrt;

}  // namespace hls

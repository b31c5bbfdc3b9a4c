// The functions of vector_math.hpp over arrays. An element's bits depend on its value alone: not
// on its place in the array, nor on n_threads.
#pragma once

#include "retemper/core/types.hpp"

namespace retemper::numerics::elementwise {

Vector exp(ConstVectorView x, int n_threads);
Vector log(ConstVectorView x, int n_threads);
Vector erfc(ConstVectorView x, int n_threads);
Vector erfcx(ConstVectorView x, int n_threads);
Vector ndtr(ConstVectorView x, int n_threads);
Vector log_ndtr(ConstVectorView x, int n_threads);
Vector hazard(ConstVectorView x, int n_threads);
Vector ndtri(ConstVectorView p, int n_threads);
Vector asin(ConstVectorView x, int n_threads);
Vector acos(ConstVectorView x, int n_threads);

}  // namespace retemper::numerics::elementwise

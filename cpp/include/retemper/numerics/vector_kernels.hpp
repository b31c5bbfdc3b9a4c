// The functions of vector_math.hpp over arrays. An element's bits depend on its value alone: not
// on its place in the array, nor on n_threads.
#pragma once

#include "retemper/core/types.hpp"

namespace retemper::numerics::elementwise {

Vector exp(const ConstVectorView& x, int n_threads);
Vector log(const ConstVectorView& x, int n_threads);
Vector erfc(const ConstVectorView& x, int n_threads);
Vector erfcx(const ConstVectorView& x, int n_threads);
Vector ndtr(const ConstVectorView& x, int n_threads);
Vector log_ndtr(const ConstVectorView& x, int n_threads);
Vector hazard(const ConstVectorView& x, int n_threads);
Vector ndtri(const ConstVectorView& p, int n_threads);
Vector asin(const ConstVectorView& x, int n_threads);
Vector acos(const ConstVectorView& x, int n_threads);

}  // namespace retemper::numerics::elementwise

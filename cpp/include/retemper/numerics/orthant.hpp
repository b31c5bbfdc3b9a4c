// Averages of normal variables over the part of space where some of them are positive.
#pragma once

#include "retemper/core/types.hpp"

namespace retemper::numerics {

/// Probability that `n` normal variables of mean zero are all positive, n from 0 to 4. covariance:
/// (n, n) with rows `stride` apart, of positive variances. Closed forms up to three; of four an
/// integral over one angle for each pair with one variable, to 1e-8, where two pairs are almost
/// parallel, and 1e-14 elsewhere.
double orthant_probability(const double* covariance, Index n, Index stride);

/// E u_s u_t 1(u_i > 0, u_j > 0, u_s > 0, u_t > 0) of normal variables of mean zero, any of which
/// may be the same: sets 0 <= i, j, s, t < n of a covariance (n, n) of positive variances.
class PositiveProducts {
 public:
  /// Variances are raised by 1e-10 of themselves, so that parallel variables have a sign each.
  explicit PositiveProducts(const RowMatrix& covariance);
  double operator()(Index i, Index j, Index s, Index t);

 private:
  double probability(const Index* set, Index size);

  RowMatrix covariance_;
  Vector known_;  // of sets of four, by place; negative where not known
};

}  // namespace retemper::numerics

// Gauss rules of any order: Hermite for averages over a normal variable, Legendre for intervals.
#pragma once

#include "retemper/core/types.hpp"

namespace retemper::numerics {

struct GaussRule {
  Vector node;    ///< (order,) increasing, symmetric about zero
  Vector weight;  ///< (order,) positive
};

/// Rule with sum_k weight[k] f(node[k]) ~ E f(Z), Z ~ N(0, 1), exact for polynomials of degree
/// below 2 * order. Nodes are eigenvalues of the Jacobi matrix (Golub & Welsch 1969), polished by
/// a Newton step; weights hold to a few units in the last place of their own size, however small.
/// Throws ArgumentError if order < 1.
GaussRule gauss_hermite_rule(Index order);

/// Rule with sum_k weight[k] f(node[k]) ~ integral of f over [-1, 1], of the same exactness.
/// Newton on the recurrence of P_{k+1} - P_k in 1 - x, which keeps the nodes near the ends apart.
/// Throws ArgumentError if order < 1.
GaussRule gauss_legendre_rule(Index order);

}  // namespace retemper::numerics

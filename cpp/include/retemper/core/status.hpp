// How an iteration ended. The order is the contract with retemper._results.Status.
#pragma once

#include <array>
#include <utility>

namespace retemper {

enum class Status : int {
  converged = 0,
  max_iter,
  stalled,
  no_solution,
  several_solutions,
  invalid,
};

/// Name and sentence of every Status, in order.
inline constexpr std::array<std::pair<const char*, const char*>, 6> status_text{{
    {"converged", "converged to the requested tolerance"},
    {"max_iter", "stopped at the iteration limit before reaching the tolerance"},
    {"stalled", "stopped improving before reaching the tolerance"},
    {"no_solution", "the equations have no solution for these parameters"},
    {"several_solutions", "the equations have several solutions; all branches are listed"},
    {"invalid", "the result is outside the range in which the theory holds"},
}};

}  // namespace retemper

// Sampling of the coupled networks of finite width: source networks, and for each of them target
// networks pulled towards it.
#pragma once

#include <vector>

#include "retemper/core/control.hpp"
#include "retemper/core/random.hpp"
#include "retemper/core/types.hpp"
#include "retemper/widenet/kernels.hpp"

namespace retemper::widenet {

/// How W is sampled. hmc: Hamiltonian Monte Carlo with the read-out integrated out. gibbs: exact
/// alternation of read-out and weights, linear activation only. langevin: unadjusted Langevin steps
/// on W and v, biased in proportion to the step.
enum class Method { hmc, gibbs, langevin };

/// The activation of a network that is sampled.
struct HiddenUnit {
  Activation activation = Activation::erf;
  ActivationTable table;  // of Activation::table
};

/// The prior and the noise of both networks, named as the fields of WideNetModel in Python.
struct NetworkLaw {
  HiddenUnit unit;
  Index width = 2;
  Index n_hidden_layers = 1;
  double lam0 = 1.0, lam1 = 1.0, lam1_source = 1.0;
  double temperature_source = 0.0, temperature_target = 0.0;
  double gamma = 0.0;  // may be infinite: the target keeps the average weights of the sources
  std::vector<double> source_weights = {1.0};  // coupling of each source over gamma
  bool is_elastic = false;  // source and target are one draw of both, and the source reacts
};

/// How long the chains run, named as the arguments of `simulate` in Python.
struct Schedule {
  Method method = Method::hmc;
  Index n_chains = 1;
  Index n_draws = 1;        // source networks taken from each chain
  Index n_burn_source = 1;  // sweeps before the first; the step is adapted here alone
  Index n_thin_source = 1;  // sweeps between two; elastic: those that a draw averages
  Index n_burn_target = 1;
  Index n_sweeps_target = 1;  // of either of the two target chains of a source network
  Index n_steps = 1;          // leapfrog or Langevin steps of a sweep
  double step_size = 0.1;     // the first one (hmc), or for good (langevin)
};

/// Averages over the target posterior, for every source network; given W the read-out is
/// integrated exactly.
struct Draws {
  // (n_chains * n_draws, n_outputs^2), matrices row by row; of Q_st the rows are the source's.
  // Q_s and Q_st of several sources stand side by side.
  RowMatrix Q_s, Q_t, Q_tt, Q_st;
  // (n_chains * n_draws, n_test * n_outputs), outputs of a point side by side
  RowMatrix mean_a, mean_b;  // of the two target chains
  RowMatrix mean_square;     // mean of f^2
  RowMatrix positive;        // share of networks with f > 0
  // (n_sources * n_chains, n_draws * n_thin_source), the chains of one source below each other
  RowMatrix trace_Q_s, trace_energy;
  Vector acceptance_source, acceptance_target;  // (n_chains,) after burn-in
};

/// Inputs are (n, n_features). The sources stand below each other, source_rows[s] rows of each;
/// they are sampled independently. The bits depend on the key, not on n_threads. Throws
/// NumericalError where a start has no finite energy.
Draws simulate(const NetworkLaw& law, const Schedule& schedule, const ConstRowMatrixView& source_X,
               const ConstRowMatrixView& source_y, const std::vector<Index>& source_rows,
               const ConstRowMatrixView& target_X, const ConstRowMatrixView& target_y,
               const ConstRowMatrixView& test_X, const PhiloxKey& key, int n_threads,
               Control& control);

/// Energy of hidden weights W with the read-out integrated out, y^T C^-1 y / 2 + log det C / 2, and
/// its gradient, both (width, n_features + (n_hidden_layers - 1) width): the layers side by side.
struct EnergyGradient {
  double energy;
  RowMatrix gradient;
};
EnergyGradient collapsed_energy(const HiddenUnit& unit, Index n_hidden_layers, double lam1,
                                double temperature, const ConstRowMatrixView& X,
                                const ConstVectorView& y, const ConstRowMatrixView& W);

}  // namespace retemper::widenet

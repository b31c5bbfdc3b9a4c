// Training of a small fully connected network by minibatch gradient descent with momentum.
#pragma once

#include <vector>

#include "retemper/core/control.hpp"
#include "retemper/core/random.hpp"
#include "retemper/core/types.hpp"

namespace retemper::phases {

enum class Activation { relu, tanh };
enum class Loss { softmax, squared };  // cross-entropy; half the squared distance

struct MlpProblem {
  std::vector<Index> sizes;  ///< units of every layer, inputs and outputs included
  Activation activation = Activation::relu;
  Loss loss = Loss::softmax;
  double learning_rate = 0.05;
  double momentum = 0.9;
  double weight_decay = 0.0;  ///< its multiple of the weights (not biases) is added to the gradient
  Index batch_size = 128;
};

/// Layer by layer the weights (in, out) row-major and the biases (out,), one after another.
Index n_parameters(const std::vector<Index>& sizes);

struct MlpState {
  Vector parameters;  ///< (n_parameters,)
  Vector velocity;    ///< (n_parameters,)
  Index step = 0;     ///< number of steps taken
  Vector loss;        ///< of the last steps: mean loss of the batch before the step, without decay
};

/// Takes n_steps more: v = momentum v + gradient, parameters -= rate v.
/// X: (n, inputs), Y: (n, outputs), rows of probabilities for softmax. Every epoch visits each row
/// once in the order that (key, epoch) gives; the last batch of an epoch may be short. Rows are
/// shared out in fixed shards of 128, so that the number of threads changes no bit.
/// Throws ArgumentError on shapes, NumericalError where the loss is not finite.
MlpState train(const MlpProblem& problem, const MlpState& start, const ConstRowMatrixView& X,
               const ConstRowMatrixView& Y, const PhiloxKey& key, Index n_steps, int n_threads,
               Control& control);

}  // namespace retemper::phases

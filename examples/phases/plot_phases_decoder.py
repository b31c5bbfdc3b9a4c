"""
What an unconverged decoder shows (needs torch)
===============================================

A network of convolutions with batch normalisation learns coloured digits. Left: the same
activations read by three decoders. The ridge decoder of this package finds a shallow minimum. A
decoder trained by Adam for 20 epochs, as is common, reports something else, because it has not
converged: its curve follows the scale of the activations (right, triangles). Standardised
activations repair most of that.

The decoder has the settings of the code published with Schneider and Prabhushankar (2024), on far
fewer images; the figure is ours.
"""

import matplotlib.pyplot as plt

from retemper.gallery import run_conv
from retemper.phases import MonitorDisplay

run = run_conv(n_steps=1024, random_state=0)
decoders = {
    "ridge, cross-validated": run.fuv,
    "Adam, 20 epochs, raw": run.adam_raw,
    "Adam, 20 epochs, standardised": run.adam_standardised,
}
block = {
    "transfer: colour": run.colour,
    "source: digit": run.source,
    f"rms activation / {run.scale.max():.2f}": run.scale / run.scale.max(),
}

figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.4), layout="constrained")
MonitorDisplay(run.steps, decoders, {}, []).plot(ax=left, names={k: k for k in decoders})
left.set(ylabel="unexplained input variance", title="the same activations, three decoders")
MonitorDisplay(run.steps, block, {}, []).plot(ax=right, names={k: k for k in block})
right.set(ylabel="accuracy, relative scale", title="last block of convolutions")
figure.suptitle(
    "A decoder that has not converged shows the scale of activations, not what they hold"
)
plt.show()

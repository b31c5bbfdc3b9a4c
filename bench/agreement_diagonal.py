"""Theory against simulation over all regimes: ``python bench/agreement_diagonal.py [FEATURES]``."""

from __future__ import annotations

import math
import sys

from retemper.diagonal import DiagonalModel, compare

#: regime, parameters
CASES = [
    ("I rich, blind", {"alpha": 0.3, "omega": 0.0, "balance": -1.0, "readout_scale": 1e-3}),
    ("I rich, blind", {"alpha": 0.25, "omega": 0.5, "balance": -0.9999, "noise": 0.2}),
    ("I scratch", {"alpha": 0.35, "mode": "scratch", "init_scale": 1e-6, "noise": 0.1}),
    ("II lazy, dependent", {"alpha": 0.1, "omega": 1.0, "balance": 0.99}),
    ("II lazy, dependent", {"alpha": 0.3, "omega": 0.5, "balance": 0.99, "noise": 0.3}),
    ("III lazy, blind", {"alpha": 0.3, "omega": 0.5, "readout_scale": 10.0}),
    ("III lazy, blind", {"alpha": 0.5, "omega": 0.0, "rho_ft": 0.9, "readout_scale": 1.0}),
    ("IV rich, dependent", {"alpha": 0.04, "omega": 1.0, "rho_ft": 0.01, "balance": -0.99}),
    ("IV rich, dependent", {"alpha": 0.3, "balance": -0.99, "noise": math.sqrt(0.1)}),
    ("warm, aligned", {"alpha": 0.25, "init_scale": 0.01, "mode": "warm", "shared": "aligned"}),
    ("warm, opposite", {"alpha": 0.25, "init_scale": 0.01, "mode": "warm", "shared": "opposite"}),
    ("penalised", {"alpha": 1.0, "omega": 0.5, "mu": 0.02, "noise": math.sqrt(0.2)}),
    ("penalised, n > D", {"alpha": 2.0, "init_scale": 0.01, "mu": 0.3, "noise": math.sqrt(0.5)}),
    ("least squares", {"alpha": 1.5, "noise": 0.5}),
    ("finite source", {"alpha": 0.2, "omega": 1.0, "init_scale": 0.01, "alpha_pt": 0.3}),
    ("noisy source", {"alpha": 0.2, "init_scale": 0.01, "alpha_pt": 1.5, "noise_pt": 0.3}),
    ("pathways apart", {"alpha": 0.3, "readout_scale": 0.5, "noise": 0.2, "rebalance": "none"}),
    (
        "apart, aligned",
        {
            "alpha": 0.25,
            "init_scale": 0.01,
            "balance": -0.5,
            "readout_scale": 1.0,
            "shared": "aligned",
            "rebalance": "none",
        },
    ),
    (
        "apart, finite",
        {
            "alpha": 0.3,
            "init_scale": 0.01,
            "readout_scale": 0.5,
            "alpha_pt": 0.4,
            "rebalance": "none",
        },
    ),
]


def main(n_features: int) -> None:
    """Print one table of z-scores."""
    print(f"D = {n_features}, 16 experiments each")
    print(f"{'regime':<20}{'quantity':<13}{'theory':>12}{'simulation':>12}{'stderr':>10}{'z':>7}")
    for k, (regime, parameters) in enumerate(CASES):
        found = compare(DiagonalModel(**parameters), n_features=n_features, random_state=k)
        for row in zip(found.names, found.theory, found.simulation, found.stderr, found.z,
                       strict=True):  # fmt: skip
            name, theory, simulation, error, z = row
            print(
                f"{regime:<20}{name:<13}{theory:>12.5g}{simulation:>12.5g}{error:>10.2g}{z:>7.2f}"
            )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1000)

"""Message passing against the theory of the margin perceptron, in standard errors.

``python bench/agreement_perceptron.py [--n-features 2000] [--n-repeats 10]`` prints one line per
point: z-scores of q, m, cosine, free entropy and the error on rows with a margin; then channels,
priors, losses and correlated features on a quarter of the features (``--general``: these alone).
Points keep away from the spinodals and from weak recovery, where finite sizes and slow convergence
take over.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import time

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np

from retemper.perceptron import (
    Channel,
    Covariates,
    ERMModel,
    GLMModel,
    PerceptronModel,
    Prior,
    compare,
    simulate,
    solve,
)

POINTS: list[tuple[str, PerceptronModel, str]] = [
    ("labels only", PerceptronModel(0.0, 0.0, 2.0), "reachable"),
    ("labels only, margin", PerceptronModel(0.5, 0.0, 1.0), "reachable"),
    ("no labels", PerceptronModel(1.0, 1.2), "reachable"),
    ("no labels, wide margin", PerceptronModel(2.0, 0.3), "reachable"),
    ("no labels, beyond the jump", PerceptronModel(0.5, 5.6), "reachable"),
    ("few labels", PerceptronModel(1.0, 1.0, 0.1), "reachable"),
    ("metastable", PerceptronModel(0.3, 8.0, 0.5), "reachable"),
    ("beyond the jump", PerceptronModel(0.5, 4.0, 0.3), "reachable"),
    ("informed, hard phase", PerceptronModel(0.5, 4.3), "informed"),
    ("informed, labels", PerceptronModel(0.3, 12.0, 0.1), "informed"),
    ("narrow margin", PerceptronModel(0.2, 5.0, 1.0), "reachable"),
    ("soft", PerceptronModel(0.8, 1.5, 0.3, sigma=0.3), "reachable"),
    ("contaminated, flips", PerceptronModel(1.0, 2.0, 0.3, eta_u=0.2, eta_l=0.1), "reachable"),
    ("timid student", PerceptronModel(0.5, 1.0, 0.3, kappa_true=1.0), "reachable"),
    ("ignorant student", PerceptronModel(0.0, 0.0, 1.0, kappa_true=1.0), "reachable"),
    ("clusters", PerceptronModel(0.0, 1.5, 0.3, channel="cluster", cluster_mean=1.2), "reachable"),
    ("binary weights", PerceptronModel(1.0, 0.3, 0.1, prior="binary"), "reachable"),
]
SPECTRUM = Covariates((4.0, 1.0, 0.2), (0.1, 0.4, 0.5), (2.0, 0.2, 0.02), 0.9)
PLAIN = dataclasses.replace(SPECTRUM, is_diagonal=True)
SOURCES = Covariates.from_sources([0.6, 0.3], [20.0, 5.0], gram=[[1.0, 0.3], [0.3, 1.0]])
GENERAL: list[tuple[str, GLMModel | ERMModel]] = [
    ("sign, binary", GLMModel(1.0, prior="binary")),
    ("probit, laplace", GLMModel(2.0, channel="probit", prior="laplace")),
    ("logistic, gaussian", GLMModel(3.0, channel="logistic")),
    ("linear, sparse", GLMModel(1.5, channel=Channel.linear(noise=0.5), prior="sparse")),
    ("laplace noise, binary", GLMModel(1.5, channel="laplace", prior="binary")),
    ("wrong softness", GLMModel(2.0, channel="sign", channel_true=Channel.sign(sigma=0.5))),
    *((f"{student} reads {truth}", GLMModel(alpha, channel=channel, channel_true=channel_true))
      for student, truth, alpha, channel, channel_true in (
          ("probit", "sign", 1.5, "probit", "sign"),
          ("flips", "logistic", 2.0, Channel.sign(eta=0.1), "logistic"),
          ("logistic", "probit", 1.5, "logistic", "probit"),
          ("laplace", "gaussian noise", 1.5, "laplace", Channel.linear(noise=0.5)),
          ("gaussian", "laplace noise", 1.5, Channel.linear(noise=0.5), "laplace"),
          ("student", "laplace noise", 1.5, "student", "laplace"))),
    ("logistic loss", ERMModel(2.0)),
    ("logistic loss, logistic", ERMModel(2.0, channel="logistic")),
    ("hinge loss, flips", ERMModel(2.0, loss="hinge", channel=Channel.sign(eta=0.1))),
    ("hinge loss", ERMModel(2.0, loss="hinge")),
    ("lasso", ERMModel(1.5, loss="square", ridge=0.0, l1=0.1, prior="sparse",
                       channel=Channel.linear(noise=0.2))),
    ("huber loss", ERMModel(1.5, loss="huber", channel=Channel.linear(noise=0.5), prior="binary")),
    *((f"{loss} loss, {name}", ERMModel(1.7, loss=loss, covariates=law))
      for name, law in (("spectrum", SPECTRUM), ("sources", SOURCES))
      for loss in ("logistic", "hinge", "square", "huber")),
    *((f"best student, {name}", GLMModel(2.0, channel=channel, prior=prior, covariates=law))
      for name, channel, prior, law in (
          ("sign", "sign", "gaussian", SPECTRUM),
          ("logistic, sources", "logistic", "gaussian", SOURCES),
          ("door", Channel.door(sigma=0.1), "gaussian", SOURCES),
          ("linear, sparse", Channel.linear(noise=0.3), Prior.sparse(0.2), PLAIN),
          ("probit, binary", "probit", "binary", PLAIN))),
    *((f"{loss} and l1, spectrum",
       ERMModel(1.6, loss=loss, ridge=0.0, l1=0.1, prior=Prior.sparse(0.2), covariates=PLAIN,
                channel="sign" if loss == "logistic" else Channel.linear(noise=0.3)))
      for loss in ("logistic", "square", "huber")),
]  # fmt: skip
GENERAL_NAMES = ("q", "m", "cosine", "mse", "error")
NAMES = ("q", "m", "cosine", "free_entropy", "error_margin")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--n-features", type=int, default=2000)
    parser.add_argument("--n-repeats", type=int, default=10)
    parser.add_argument("--general", action="store_true", help="any channel alone")
    arguments = parser.parse_args()
    print(f"{'point':<28}{'q':>9}{'measured':>9}" + "".join(f"{'z ' + n:>16}" for n in NAMES))
    scores = []
    begin = time.perf_counter()
    for i, (name, model, branch) in enumerate(POINTS if not arguments.general else []):
        theory = getattr(solve(model), branch)
        sample = simulate(
            model,
            n_features=arguments.n_features,
            n_repeats=arguments.n_repeats,
            start="informed" if branch == "informed" else "auto",
            random_state=i,
            on_failure="ignore",
        )
        z = [(getattr(theory, n) - getattr(sample, n)) / sample.stderr[n] for n in NAMES]
        scores.append(z)
        lost = int((~sample.samples["converged"]).sum())
        print(
            f"{name:<28}{theory.q:>9.4f}{sample.q:>9.4f}"
            + "".join(f"{value:>16.2f}" for value in z)
            + (f"  ({lost} runs did not converge)" if lost else ""),
            flush=True,
        )
    if scores:
        print_summary(scores)
    scores = []
    print(
        f"{'any channel':<28}{'q':>9}{'measured':>9}"
        + "".join(f"{'z ' + n:>16}" for n in GENERAL_NAMES)
    )
    for i, (name, model) in enumerate(GENERAL):
        found = compare(
            model,
            n_features=arguments.n_features // 4,
            n_repeats=arguments.n_repeats,
            random_state=i,
            on_failure="ignore",
        )
        scores.append(found.z)
        print(
            f"{name:<28}{found.theory[0]:>9.4f}{found.simulation[0]:>9.4f}"
            + "".join(f"{value:>16.2f}" for value in found.z),
            flush=True,
        )
    print_summary(scores)
    n_points = len(GENERAL) + (0 if arguments.general else len(POINTS))
    print(f"{n_points} points, {time.perf_counter() - begin:.0f} s")


def print_summary(scores: list) -> None:
    worst = np.abs(scores).max(axis=0)
    spread = np.sqrt(np.mean(np.square(scores), axis=0))
    print(f"{'largest |z|':<46}" + "".join(f"{w:>16.2f}" for w in worst))
    print(f"{'root mean square of z':<46}" + "".join(f"{s:>16.2f}" for s in spread))


if __name__ == "__main__":
    main()

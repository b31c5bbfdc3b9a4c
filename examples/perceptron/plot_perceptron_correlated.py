"""
What correlated features change for the best student
====================================================

The variances of the features fall off as the rank to a power, and the label is the sign of a field
of variance one. Solid lines are the best student, which knows the variances and how much of the
label each feature carries; dots are message passing on 800 features, with standard errors
over four tables.

Left: true weights of equal size. The faster the variances fall, the fewer features carry the label,
and the fewer rows it takes to learn it. With many rows the lines draw near each other: the last
digits of the label are in the weak features.

Right, variances that fall as 1 / rank: where does the label live? Dashed lines and open dots are
logistic regression with a small ridge, which is told nothing. Where the true weights are of equal
size it is as good as the best student up to two rows per feature. Where the label leans on the weak
features, the best student weighs them up and learns as from white ones (dotted); logistic
regression trusts large features and falls behind.

The model is the Gaussian covariate model of Loureiro et al. (2021); their figures were not read,
and the lines are derived here.
"""

import matplotlib.pyplot as plt
import numpy as np

from retemper.perceptron import Covariates, ERMModel, GLMModel, curve, simulate

load = np.geomspace(0.1, 10, 25)
tried = np.geomspace(0.2, 4, 4)


def features(decay, lean=0.0):
    """Variances rank**-decay; true weights have a variance of the feature's to the power lean."""
    variance = np.arange(1.0, 61.0) ** -decay
    variance /= variance.mean()
    share = np.full(60, 1 / 60)
    alignment = share * variance ** (2 + lean)
    alignment /= (alignment / variance).sum()  # the field has variance one
    return Covariates(tuple(variance), tuple(share), tuple(alignment))


def draw(ax, model, *, is_open=False, **style):
    """The line of a model, and dots of what it says about tables."""
    found = curve(model, {"alpha": load}, quantities=["error"])
    label = style.pop("label", None)
    ax.plot(load, found["error"], "--" if is_open else "-", color=style["color"], label=label)
    seen = [
        simulate(type(model)(a, **options(model)), n_features=800, n_repeats=4, random_state=0)
        for a in tried
    ]
    ax.errorbar(
        tried, [s.error for s in seen], [s.stderr["error"] for s in seen], ls="none", ms=5,
        capsize=2, mfc="none" if is_open else None, **style,
    )  # fmt: skip


def options(model):
    """What a model has beside its load."""
    own = {"covariates": model.covariates}
    return own | {"ridge": model.ridge} if isinstance(model, ERMModel) else own


# %%
# One curve of fixed points serves all loads of the best student.
figure, (left, right) = plt.subplots(1, 2, figsize=(10.5, 4.6), sharey=True, layout="constrained")
shades = plt.colormaps["viridis"](np.linspace(0, 0.8, 3))
names = ("equal", "1 / rank", "1 / rank²")
for decay, name, shade, marker in zip((0.0, 1.0, 2.0), names, shades, "osD"):
    draw(left, GLMModel(1.0, covariates=features(decay)), color=shade, marker=marker, label=name)

for lean, name, colour, marker in (
    (1.0, "strong features", shades[2], "^"),
    (0.0, "all alike", shades[1], "s"),
    (-1.0, "weak features", shades[0], "v"),
):
    spread = features(1.0, lean)
    draw(right, GLMModel(1.0, covariates=spread), color=colour, marker=marker, label=name)
    draw(right, ERMModel(1.0, ridge=0.01, covariates=spread), color=colour, marker=marker,
         is_open=True)  # fmt: skip
white = curve(GLMModel(1.0), {"alpha": load}, quantities=["error"])
right.plot(load, white["error"], ":", color="C1", lw=3, label="white features")

figure.suptitle("How few rows a label needs, by how few features carry it")
left.set(ylabel="share of wrong labels", title="Fewer features carry the label: fewer rows")
right.set(title="A label in weak features costs only the student who is not told")
left.legend(title="variances of the features")
right.legend(title="weights lean on (dashed: logistic regression)")
for ax in (left, right):
    ax.set(xscale="log", yscale="log", xlabel="rows per feature")
    ax.set_yticks([0.03, 0.1, 0.3], ["0.03", "0.1", "0.3"])
    ax.tick_params(axis="y", which="minor", labelleft=False)
plt.show()

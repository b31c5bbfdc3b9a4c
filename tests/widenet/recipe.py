"""The random transfer problems of the reference values, drawn exactly as they were."""

import numpy as np

from retemper.widenet import WideNetModel

SMALL = {"N0": 12, "Ps": 25, "Pt": 15, "Pe": 7}
LABELS = {
    "lin": lambda z: z,
    "sign": lambda z: np.where(z >= 0, 1.0, -1.0),
    "cubic": lambda z: z + 0.5 * (z**3 - 3 * z) / np.sqrt(6),
}


def draw(N0=30, Ps=100, Pt=30, Pe=200, rho=0.9, label="lin", scale=1.0, seed=0):  # noqa: PLR0917
    """(target, source, test), each (X, y)."""
    rs = np.random.RandomState(seed)
    Xs, Xt, Xe = (rs.standard_normal((n, N0)) for n in (Ps, Pt, Pe))
    us, uo = rs.standard_normal(N0), rs.standard_normal(N0)
    us /= np.linalg.norm(us)
    uo -= us * (us @ uo)
    uo /= np.linalg.norm(uo)
    ut = rho * us + np.sqrt(1 - rho**2) * uo

    def y(X, u):
        return scale * LABELS[label](X @ u)

    return (Xt, y(Xt, ut)), (Xs, y(Xs, us)), (Xe, y(Xe, ut))


def model(act="erf", N1=100, lam0=1.0, lam1=1.0, T=0.05, gamma=0.0):  # noqa: PLR0917
    return WideNetModel(N1, act, lam0, lam1, T, T, gamma)


def split(parameters):
    """Keyword arguments of `draw` and of `model`."""
    names = {"act", "N1", "lam0", "lam1", "T", "gamma"}
    return (
        {k: v for k, v in parameters.items() if k not in names},
        {k: v for k, v in parameters.items() if k in names},
    )

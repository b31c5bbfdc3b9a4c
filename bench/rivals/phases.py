"""Reconstruction, moments and training as numpy, scikit-learn and torch offer them."""

import numpy as np
from sklearn.linear_model import Ridge
from sklearn.neural_network import MLPClassifier


def fold_gram(H, X, ridges, folds=5):
    """Fold moments by numpy, one eigendecomposition per fold, every ridge from it."""
    fold = np.arange(len(H)) % folds
    h, q = H.shape[1], X.shape[1]
    hh, ht = np.empty((folds, h, h)), np.empty((folds, h, q))
    sh, st, tt, n = np.empty((folds, h)), np.empty((folds, q)), np.empty(folds), np.empty(folds)
    H, X = H - H[:256].mean(0), X - X[:256].mean(0)
    for f in range(folds):
        a, b = H[fold == f], X[fold == f]
        hh[f], ht[f], sh[f], st[f] = a.T @ a, a.T @ b, a.sum(0), b.sum(0)
        tt[f], n[f] = (b**2).sum(), len(a)
    error = np.zeros(len(ridges))
    for f in range(folds):
        rest = n.sum() - n[f]
        mh, mt = (sh.sum(0) - sh[f]) / rest, (st.sum(0) - st[f]) / rest
        A = hh.sum(0) - hh[f] - rest * np.outer(mh, mh)
        B = ht.sum(0) - ht[f] - rest * np.outer(mh, mt)
        e, u = np.linalg.eigh(A)
        ub = u.T @ B
        held = hh[f] - np.outer(sh[f], mh) - np.outer(mh, sh[f]) + n[f] * np.outer(mh, mh)
        mixed = ht[f] - np.outer(sh[f], mt) - np.outer(mh, st[f]) + n[f] * np.outer(mh, mt)
        cross = (ub * (u.T @ mixed)).sum(1)
        Q = (ub @ ub.T) * (u.T @ held @ u)
        total = tt[f] - 2 * mt @ st[f] + n[f] * mt @ mt
        g = 1.0 / (e + e.mean() * ridges[:, None])
        error += total - 2 * g @ cross + ((g @ Q) * g).sum(1)
    return error / ((X - X.mean(0)) ** 2).sum()


def ridge_refits(H, X, ridge, folds=5):
    """scikit-learn's Ridge on every fold, for one ridge."""
    fold, error = np.arange(len(H)) % folds, 0.0
    for f in range(folds):
        train, held = fold != f, fold == f
        gram = H[train] - H[train].mean(0)
        alpha = ridge * (gram**2).sum() / H.shape[1]
        model = Ridge(alpha=alpha, solver="cholesky").fit(H[train], X[train])
        error += ((X[held] - model.predict(H[held])) ** 2).sum()
    return error / ((X - X.mean(0)) ** 2).sum()


def moments(H, X, folds=5, batch=2000):
    """Streaming fold moments in float64."""
    h, q = H.shape[1], X.shape[1]
    hh, ht = np.zeros((folds, h, h)), np.zeros((folds, h, q))
    h0, t0 = H[:batch].mean(0), X[:batch].mean(0)
    for start in range(0, len(H), batch):
        a, b = H[start : start + batch] - h0, X[start : start + batch] - t0
        for f in range(folds):
            af = a[f::folds]
            hh[f] += af.T @ af
            ht[f] += af.T @ b[f::folds]
    return hh, ht


def sklearn_epochs(X, y, epochs):
    net = MLPClassifier(
        (64, 64), solver="sgd", batch_size=128, learning_rate_init=0.05, alpha=0.0,
        max_iter=epochs, tol=0.0, n_iter_no_change=10**6, nesterovs_momentum=False,
    )  # fmt: skip
    return net.fit(X, y)


def torch_epochs(X, y, epochs):
    import torch
    from torch import nn

    torch.set_num_threads(1)
    X, y = torch.tensor(X, dtype=torch.float32), torch.tensor(y)
    net = nn.Sequential(
        nn.Linear(X.shape[1], 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 2)
    )
    optimizer = torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9)
    for _ in range(epochs):
        for rows in torch.randperm(len(X)).split(128):
            optimizer.zero_grad()
            nn.functional.cross_entropy(net(X[rows]), y[rows]).backward()
            optimizer.step()
    return net


def _averages(kind, C, k):
    """E g'_i g'_j, E g''_i g_j and E g_i g_j of the first k units with all."""
    q = np.diag(C)
    c, a, b = C[:k], q[:k, None], q[None, :]
    if kind == "linear":
        return np.ones_like(c), np.zeros_like(c), c
    if kind == "erf":
        slopes = 2 / np.pi / np.sqrt((1 + a) * (1 + b) - c**2)
        product = 2 / np.pi * np.arcsin(c / np.sqrt((1 + a) * (1 + b)))
        return slopes, -c / (1 + a) * slopes, product
    rho = np.clip(c / np.sqrt(a * b), -1, 1)
    rho[np.arange(k), np.arange(k)] = 1.0
    angle, sine = np.pi - np.arccos(rho), np.sqrt(1 - rho**2)
    return (
        angle / (2 * np.pi),
        np.sqrt(b / a) * sine / (2 * np.pi),
        np.sqrt(a * b) * (sine + angle * rho) / (2 * np.pi),
    )


def two_layer_velocity(model, W, v):
    """Minus the gradient of the mean loss of a two-layer network on normal inputs."""
    k, lam = len(W), model.spectrum
    rows = np.vstack([W, model.teacher])
    slopes, bends, product = _averages(model.activation, rows * lam @ rows.T, k)
    c = np.concatenate([v, -model.teacher_readout])
    move = -v[:, None] * ((slopes * c) @ rows + (bends @ c)[:, None] * W) * lam
    return move - model.weight_decay * W, -product @ c - model.weight_decay * v


def two_layer_flow(model, method="LSODA"):
    """Gradient flow by SciPy: weights and read-out at the model's times."""
    from scipy.integrate import solve_ivp

    shape = model.W0.shape

    def velocity(_, y):
        move, push = two_layer_velocity(model, y[: -shape[0]].reshape(shape), y[-shape[0] :])
        return np.concatenate([move.ravel(), push])

    start = np.concatenate([model.W0.ravel(), model.readout0])
    end = float(model.times[-1])
    return solve_ivp(velocity, (0, end), start, method, t_eval=model.times, rtol=1e-9, atol=1e-12).y


def two_layer_descent(model):
    """Gradient descent on infinite data in NumPy."""
    W, v, eta = model.W0, model.readout0, model.step_size
    for _ in range(round(model.times[-1] / eta)):
        move, push = two_layer_velocity(model, W, v)
        W, v = W + eta * move, v + eta * push
    return W, v


def two_layer_batches(model, n_repeats):
    """Training on batches of fresh rows in NumPy, as often as an average needs it."""
    from scipy.special import erf

    unit = {"erf": lambda u: erf(u / np.sqrt(2)), "relu": lambda u: np.maximum(u, 0),
            "linear": lambda u: u}[model.activation]  # fmt: skip
    slope = {"erf": lambda u: np.sqrt(2 / np.pi) * np.exp(-(u**2) / 2),
             "relu": lambda u: (u > 0) * 1.0, "linear": np.ones_like}[model.activation]  # fmt: skip
    rng, root, eta = np.random.default_rng(0), np.sqrt(model.spectrum), model.step_size
    ends = []
    for _ in range(n_repeats):
        W, v = model.W0, model.readout0
        for _ in range(round(model.times[-1] / eta)):
            X = rng.normal(size=(model.batch_size, root.size)) * root
            u = X @ W.T
            gap = unit(X @ model.teacher.T) @ model.teacher_readout
            gap += model.noise * rng.normal(size=len(X))
            gap = (gap - unit(u) @ v) / len(X)
            W, v = W + eta * (gap[:, None] * slope(u) * v).T @ X, v + eta * gap @ unit(u)
        ends.append((W, v))
    return ends


def deep_linear_flow(model):
    """Weights of the directions of a deep linear network by SciPy."""
    from scipy.integrate import solve_ivp

    lam, m, depth = model.spectrum, model.signal, model.depth

    def velocity(_, w):
        return w ** (depth - 1) * (m - lam * w**depth) - model.weight_decay * w

    start = np.full(lam.size, model.init_scale)
    end = float(model.times[-1])
    return solve_ivp(
        velocity, (0, end), start, "LSODA", t_eval=model.times, rtol=1e-9, atol=1e-12
    ).y


def deep_linear_descent(model):
    """The same by steps of NumPy."""
    lam, m, depth, eta = model.spectrum, model.signal, model.depth, model.step_size
    w = np.full(lam.size, model.init_scale)
    for _ in range(round(model.times[-1] / eta)):
        w = w + eta * (w ** (depth - 1) * (m - lam * w**depth) - model.weight_decay * w)
    return w


def jacobian(net, X):
    """Derivatives of all outputs of an `MLPTrainer` by its parameters, (n k, P)."""
    layers, a = net.weights(), [X, *net.activations(X).values()]
    n, k = a[-1].shape
    delta, parts = np.broadcast_to(np.eye(k), (n, k, k)), []
    for i in range(len(layers) - 1, -1, -1):
        weights = np.einsum("ni,nko->nkio", a[i], delta).reshape(n * k, -1)
        parts += [delta.reshape(n * k, -1), weights]
        if i:
            slope = (a[i] > 0) * 1.0 if net.activation == "relu" else 1 - a[i] ** 2
            delta = (delta @ layers[i][0].T) * slope[:, None, :]
    return np.concatenate(parts[::-1], axis=1)


def linearised_training(net, X, Y, times):
    """Parameters under linearised training by SciPy, from the Jacobian itself."""
    from scipy.integrate import solve_ivp
    from scipy.special import softmax

    J, start = jacobian(net, X), net.activations(X)["output"]

    def velocity(_, moved):
        out = start + (J @ moved).reshape(start.shape)
        return -J.T @ (softmax(out, axis=1) - Y).ravel() / len(X)

    found = solve_ivp(
        velocity, (0, times[-1]), np.zeros(J.shape[1]), "RK45", t_eval=times, rtol=1e-5, atol=1e-7
    )
    return net.parameters_[0] + found.y.T

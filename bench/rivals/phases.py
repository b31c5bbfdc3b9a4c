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

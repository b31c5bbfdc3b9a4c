"""The theory written out with inverses and determinants, one line per equation."""

import numpy as np


def kernel(act, a, c, b, centred=True):
    """E s(u) s(u') for variances a (n,), b (k,) and covariances c (n, k), by quadrature-free forms
    in numpy; for relu and gelu minus the product of means if centred."""
    a, b = np.asarray(a)[:, None], np.asarray(b)[None, :]
    if act == "linear":
        return c + 0.0
    if act == "erf":
        return 2 / np.pi * np.arcsin(2 * c / np.sqrt((1 + 2 * a) * (1 + 2 * b)))
    if act == "relu":
        s = np.sqrt(a * b)
        t = np.clip(np.divide(c, s, out=np.zeros_like(c), where=s > 0), -1, 1)
        out = s / (2 * np.pi) * (t * (np.pi - np.arccos(t)) + np.sqrt(1 - t**2))
        mean = s / (2 * np.pi)
    else:
        A, B = 1 + a, 1 + b
        out = (
            c / 4
            + c / (2 * np.pi) * np.arcsin(c / np.sqrt(A * B))
            + (a * b + c**2 * (1 / A + 1 / B - 1)) / (2 * np.pi * np.sqrt(A * B - c**2))
        )
        mean = a * b / (2 * np.pi * np.sqrt(A * B))
    return out - mean if centred else out


def mean(act, a):
    if act == "relu":
        return np.sqrt(a / (2 * np.pi))
    if act == "gelu":
        return a / np.sqrt(2 * np.pi * (1 + a))
    return np.zeros_like(a)


def blocks(model, target, source):
    """(K_ss, K_st, K_d, K_o, m_s, m_t) of the theory page, section 4.1."""
    (Xt, _), (Xs, _) = target, source
    n = Xt.shape[1]
    act, l0, g = model.activation, model.lam0, model.pull
    rho_o = g**2 / l0
    rho_d = rho_o + 1 / (l0 + model.gamma)
    vs, vt = (Xs**2).sum(1) / n, (Xt**2).sum(1) / n
    return (
        kernel(act, vs / l0, Xs @ Xs.T / n / l0, vs / l0),
        kernel(act, vs / l0, g / l0 * Xs @ Xt.T / n, rho_d * vt),
        kernel(act, rho_d * vt, rho_d * Xt @ Xt.T / n, rho_d * vt),
        kernel(act, rho_d * vt, rho_o * Xt @ Xt.T / n, rho_d * vt),
        mean(act, vs / l0),
        mean(act, rho_d * vt),
    )


def target_action(model, target, source, Q_s, Q_s_free, all_parts, free):  # noqa: PLR0917
    """The action at (delta, Q_tt, Q_st) and at their parts that are free of the mean read-outs."""
    (delta, Q_tt, R), (d, t, r) = all_parts, free
    K_ss, K_st, K_d, K_o, m_s, m_t = blocks(model, target, source)
    k_s, k_t = model.inv_lam1_source, 1 / model.lam1
    A = model.temperature_source * np.eye(len(K_ss))
    A += k_s * (Q_s_free * np.outer(m_s, m_s) + Q_s * K_ss)
    D = model.temperature_target * np.eye(len(K_d)) + k_t * (
        d * np.outer(m_t, m_t) + delta * K_d + Q_tt * (K_d - K_o)
    )
    C = np.sqrt(k_s * k_t) * (R * K_st + r * np.outer(m_s, m_t))
    E = k_t * (Q_tt * K_o + t * np.outer(m_t, m_t)) - C.T @ np.linalg.solve(A, C)
    left = target[1] - C.T @ np.linalg.solve(A, source[1])
    inverse = np.linalg.inv(D)
    data = np.linalg.slogdet(D)[1] + np.trace(inverse @ E) + left @ inverse @ left
    q = t - r**2 / Q_s_free
    # tr Q'^-1 Q of a replica-symmetric block, at first order in the number of replicas
    trace = (delta + Q_tt) / d - q * delta / d**2 - 2 * r * R / (Q_s_free * d)
    trace += Q_s * r**2 / (Q_s_free**2 * d)
    return delta + Q_tt + 1 - trace - np.log(d) - q / d + data / model.width


def source_action(model, source, Q, Q_free):
    X, y = source
    v = (X**2).sum(1) / X.shape[1] / model.lam0
    K = kernel(model.activation, v, X @ X.T / X.shape[1] / model.lam0, v)
    m = mean(model.activation, v)
    A = model.temperature_source * np.eye(len(K))
    A += model.inv_lam1_source * (Q_free * np.outer(m, m) + Q * K)
    data = np.linalg.slogdet(A)[1] + y @ np.linalg.solve(A, y)
    return Q + 1 - Q / Q_free - np.log(Q_free) + data / model.width

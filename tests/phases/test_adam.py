"""The decoder trained by Adam, beside the ridge decoder."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from retemper.phases import reconstruction_score


def layer(n=1500, scale=1.0):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n, 6)) * 1.5 ** -np.arange(6)
    return scale * (X @ rng.normal(size=(6, 4)) + 0.1 * rng.normal(size=(n, 4))), X


def test_after_many_epochs_it_is_least_squares():
    H, X = layer()
    found = reconstruction_score(H, X, n_epochs=600)
    assert_allclose(found.adam_standardised, found.fuv_folds[0], rtol=0.03)
    assert_allclose(found.adam_raw, found.fuv_folds[0], rtol=0.03)


def test_after_few_epochs_it_reads_the_scale_of_the_activations():
    """What the ridge decoder, and standardised activations, do not."""
    found = [reconstruction_score(*layer(scale=s), n_epochs=150) for s in (0.1, 1.0)]
    assert_allclose(found[0].fuv, found[1].fuv, rtol=1e-6)
    assert_allclose(found[0].adam_standardised, found[1].adam_standardised, rtol=1e-3)
    assert found[0].adam_raw > 1.2 * found[1].adam_raw
    assert min(f.adam_raw for f in found) > found[0].fuv


def test_it_is_the_decoder_of_torch():
    torch = pytest.importorskip("torch")
    H, X = layer(n=640)
    found = reconstruction_score(H, X, n_epochs=40).adam_raw
    held_out = np.arange(640) % 5 == 0
    rows = [torch.tensor(a, dtype=torch.float64) for a in (H[~held_out], X[~held_out])]
    left = []
    for seed in range(3):
        torch.manual_seed(seed)
        decoder = torch.nn.Linear(4, 6, dtype=torch.float64)
        optimizer = torch.optim.Adam(decoder.parameters(), lr=3e-4, weight_decay=1e-5)
        for _ in range(40):
            for part in torch.randperm(512).split(128):
                optimizer.zero_grad()
                torch.nn.functional.mse_loss(decoder(rows[0][part]), rows[1][part]).backward()
                optimizer.step()
        with torch.no_grad():
            off = decoder(torch.tensor(H[held_out])).numpy() - X[held_out]
        left.append((off**2).sum() / ((X[held_out] - X[~held_out].mean(0)) ** 2).sum())
    # other first weights: as far from those seeds as they are from each other
    assert min(left) - 2 * np.ptp(left) < found < max(left) + 2 * np.ptp(left)


def test_seeds_and_bad_input():
    H, X = layer(n=200)
    one, two, other = (
        reconstruction_score(H, X, n_epochs=2, random_state=s).adam_raw for s in (0, 0, 1)
    )
    assert one == two != other
    assert reconstruction_score(H, X).adam_raw is None
    with pytest.raises(ValueError, match="n_epochs"):
        reconstruction_score(H, X, n_epochs=-1)

"""The problems of the theory page, section 9."""

import dataclasses

import numpy as np

from retemper.phases import FeatureModel, LogisticModel

FM = FeatureModel(10, (3, 1), (1, 0.2), n_noise=50, noise_sd=0.5)


def at(times, model=FM, **changes):
    """A model looked at at other times."""
    return dataclasses.replace(model, times=times, **changes)


def logistic(p, alpha, beta, snr, omega):
    i = np.arange(1.0, p + 1)
    mean = i**-beta
    return LogisticModel(
        i**-alpha, snr * mean / np.linalg.norm(mean), omega * np.cos(2 * i) * np.sqrt(2 / p)
    )

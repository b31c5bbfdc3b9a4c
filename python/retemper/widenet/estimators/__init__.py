"""Estimators on a user's own data: one network, or one that starts from another task."""

from retemper.widenet.estimators.classifier import FranzParisiClassifier
from retemper.widenet.estimators.regressors import FranzParisiRegressor, WideNetRegressor

__all__ = ["FranzParisiClassifier", "FranzParisiRegressor", "WideNetRegressor"]

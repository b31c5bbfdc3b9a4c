"""Shared plumbing of the estimators. Loads scikit-learn: import it from ``estimators`` only."""

from __future__ import annotations

import copy
from typing import Any, Self

import sklearn.utils.validation
from sklearn.base import clone

from retemper._pickles import Versioned
from retemper._validation import naming, plain_array


def validate_data(estimator: Any, X: Any, y: Any = "no_validation", **options: Any) -> Any:
    """scikit-learn's check of rows and labels; every error names ``X`` or ``y``."""
    with naming("X") if isinstance(y, str) and y == "no_validation" else naming("X", "y"):
        return sklearn.utils.validation.validate_data(
            estimator, plain_array(X), plain_array(y), **options
        )


class TransferMixin(Versioned):
    """An estimator that starts from a fitted source.

    ``clone`` keeps the constructor arguments named in ``_kept_by_clone`` as they are, so that
    grid searches and pipelines tune the fine-tuning on a fixed, fitted source.
    """

    _kept_by_clone: tuple[str, ...] = ("source",)

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Constructor arguments; those of a kept source are not expanded."""
        params: dict[str, Any] = super().get_params(deep=False)  # type: ignore[misc]
        if deep:
            for name, value in list(params.items()):
                if name not in self._kept_by_clone and hasattr(value, "get_params"):
                    if isinstance(value, type):
                        continue
                    params.update({f"{name}__{k}": v for k, v in value.get_params().items()})
        return params

    def __sklearn_clone__(self) -> Self:
        params = {
            name: value if name in self._kept_by_clone else clone(value, safe=False)
            for name, value in self.get_params(deep=False).items()
        }
        new = type(self)(**params)
        for attribute in ("_metadata_request", "_sklearn_output_config"):
            if hasattr(self, attribute):
                setattr(new, attribute, copy.deepcopy(getattr(self, attribute)))
        return new

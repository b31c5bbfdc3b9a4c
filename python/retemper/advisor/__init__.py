"""One question, all systems: should I start from this source?"""

from __future__ import annotations

from retemper.advisor.inputs import Predictions

__all__ = ["Predictions"]

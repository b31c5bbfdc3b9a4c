"""Hypothesis profile without deadlines; one BLAS thread, so that timings and bits hold still."""

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from hypothesis import settings

settings.register_profile("retemper", deadline=None, derandomize=True, max_examples=60)
settings.load_profile("retemper")

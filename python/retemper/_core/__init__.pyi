from __future__ import annotations
from . import core
from . import numerics
from . import diagonal
from . import linear
from . import perceptron
from . import phases
from . import widenet
__all__: list[str] = ['compiler', 'core', 'diagonal', 'eigen_version', 'level', 'linear', 'max_threads', 'numerics', 'openmp_version', 'perceptron', 'phases', 'widenet']
def max_threads() -> int:
    ...
def openmp_version() -> int:
    ...
compiler: str
eigen_version: str
level: str

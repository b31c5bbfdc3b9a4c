"""BibTeX behind every public class and function."""

from __future__ import annotations

import sys
from types import ModuleType

from retemper._version import __version__

_BIBTEX = {
    "shachaf2021": """@inproceedings{shachaf2021finetuning,
  title     = {A Theoretical Analysis of Fine-tuning with Linear Teachers},
  author    = {Shachaf, Gal and Brutzkus, Alon and Globerson, Amir},
  booktitle = {Advances in Neural Information Processing Systems},
  volume    = {34},
  pages     = {15382--15394},
  year      = {2021},
  eprint    = {2107.01641},
  archivePrefix = {arXiv}
}""",
    "hastie2022": """@article{hastie2022surprises,
  title   = {Surprises in High-Dimensional Ridgeless Least Squares Interpolation},
  author  = {Hastie, Trevor and Montanari, Andrea and Rosset, Saharon and Tibshirani, Ryan J.},
  journal = {The Annals of Statistics},
  volume  = {50},
  number  = {2},
  pages   = {949--986},
  year    = {2022}
}""",
    "ingrosso2025": """@article{ingrosso2025transfer,
  title   = {Statistical Mechanics of Transfer Learning in Fully Connected Networks in the
             Proportional Limit},
  author  = {Ingrosso, Alessandro and Pacelli, Rosalba and Rotondo, Pietro and Gerace, Federica},
  journal = {Physical Review Letters},
  volume  = {134},
  pages   = {177301},
  year    = {2025},
  doi     = {10.1103/PhysRevLett.134.177301},
  eprint  = {2407.07168},
  archivePrefix = {arXiv}
}""",
    "pacelli2023": """@article{pacelli2023framework,
  title   = {A statistical mechanics framework for {Bayesian} deep neural networks beyond the
             infinite-width limit},
  author  = {Pacelli, R. and others},
  journal = {Nature Machine Intelligence},
  volume  = {5},
  pages   = {1497--1507},
  year    = {2023},
  eprint  = {2209.04882},
  archivePrefix = {arXiv}
}""",
    "lauditi2025": """@misc{lauditi2025transfer,
  title   = {Transfer Learning in Infinite Width Feature Learning Networks},
  author  = {Lauditi, C. and Bordelon, B. and Pehlevan, C.},
  year    = {2025},
  eprint  = {2507.04448},
  archivePrefix = {arXiv}
}""",
    "anguita2026": """@inproceedings{anguita2026pretraining,
  title     = {A Theory of How Pretraining Shapes Inductive Bias in Fine-Tuning},
  author    = {Anguita, N. and Locatello, F. and Saxe, A. M. and Mondelli, M. and
               Mancini, F. and Lippl, S. and Domin{\\'e}, C.},
  booktitle = {International Conference on Machine Learning},
  year      = {2026},
  eprint    = {2602.20062},
  archivePrefix = {arXiv}
}""",
    "schneider2024": """@inproceedings{schneider2024phases,
  title     = {Understanding and Leveraging the Learning Phases of Neural Networks},
  author    = {Schneider, Johannes and Prabhushankar, Mohit},
  booktitle = {Proceedings of the AAAI Conference on Artificial Intelligence},
  volume    = {38},
  number    = {13},
  pages     = {14886--14893},
  year      = {2024},
  doi       = {10.1609/aaai.v38i13.29408},
  eprint    = {2312.06887},
  archivePrefix = {arXiv}
}""",
    "ohzeki2015": """@article{ohzeki2015pretraining,
  title   = {Statistical-mechanical analysis of pre-training and fine tuning in deep learning},
  author  = {Ohzeki, Masayuki},
  journal = {Journal of the Physical Society of Japan},
  volume  = {84},
  pages   = {034003},
  year    = {2015},
  doi     = {10.7566/JPSJ.84.034003},
  eprint  = {1501.04413},
  archivePrefix = {arXiv}
}""",
    "barbier2019": """@article{barbier2019glm,
  title   = {Optimal errors and phase transitions in high-dimensional generalized linear models},
  author  = {Barbier, Jean and Krzakala, Florent and Macris, Nicolas and Miolane, L{\\'e}o and
             Zdeborov{\\'a}, Lenka},
  journal = {Proceedings of the National Academy of Sciences},
  volume  = {116},
  pages   = {5451--5460},
  year    = {2019},
  eprint  = {1708.03395},
  archivePrefix = {arXiv}
}""",
    "golub1969": """@article{golub1969quadrature,
  title   = {Calculation of {Gauss} Quadrature Rules},
  author  = {Golub, Gene H. and Welsch, John H.},
  journal = {Mathematics of Computation},
  volume  = {23},
  pages   = {221--230},
  year    = {1969}
}""",
}


_OWN = """@software{{retemper,
  title   = {{retemper: theory of pre-training and fine-tuning that people can run}},
  author  = {{{{The retemper developers}}}},
  version = {{{version}}},
  url     = {{https://github.com/retemper/retemper}}
}}"""


def citation(obj: object) -> str:
    """BibTeX entries behind a public class, function or subpackage, or of retemper itself.

    Parameters
    ----------
    obj : object
        A public class or function of retemper, an instance of one, a subpackage, or `retemper`.

    Returns
    -------
    str
        One or more BibTeX entries, separated by blank lines; that of retemper where no single
        publication stands behind the subpackage.

    Raises
    ------
    ValueError
        If the object is not part of retemper.

    See Also
    --------
    show_versions

    Examples
    --------
    >>> import retemper
    >>> print(retemper.citation(retemper.linear.solve).splitlines()[1].strip())
    title     = {A Theoretical Analysis of Fine-tuning with Linear Teachers},
    """
    if isinstance(obj, ModuleType):
        name = obj.__name__
    else:
        name = getattr(obj, "__module__", None) or type(obj).__module__
    if not (name == "retemper" or name.startswith("retemper.")):
        raise ValueError(
            "obj must be part of retemper (a class, function, instance or subpackage, not its "
            f"name), got {obj!r:.60}"
        )
    package = ".".join(name.split(".")[:2])
    keys = getattr(sys.modules.get(package), "CITATION_KEYS", ())
    if not keys:
        return _OWN.format(version=__version__)
    return "\n\n".join(_BIBTEX[key] for key in keys)

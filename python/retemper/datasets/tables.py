"""Tables on disk, read whole and checked before anything else happens."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from retemper._extras import load
from retemper._text import did_you_mean
from retemper._validation import as_path, check_kind, check_texts, naming

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["read_table"]

_FIRST_LINE = 2  # of the first row, after the names
_MOSTLY = 0.5  # a column with more numbers than this is no column of text
_SHOWN = 5  # names or rows listed in a message
#: Suffixes of tables that are not text, and of compressed text.
_TYPED = (".parquet", ".xlsx")
_PACKED = (".gz", ".bz2", ".xz", ".zip")


@dataclasses.dataclass(frozen=True)
class TableFormat:
    """How tables of text are written.

    Attributes
    ----------
    encoding : str
        Of the characters; a byte order mark of UTF-8 is skipped.
    decimal : str
        Sign before the decimals.
    sep : str or None
        Between fields; None for the most frequent of comma, semicolon and tab in the first line.
    """

    encoding: str = "utf-8"
    decimal: str = "."
    sep: str | None = None


def is_table(path: Path) -> bool:
    """Whether a file is a table by its name, and not a model; LightGBM writes models as .txt."""
    suffixes = [s.lower() for s in path.suffixes]
    if suffixes and suffixes[-1] in _PACKED:
        suffixes.pop()
    if suffixes == [".txt"] and path.is_file():
        with path.open("rb") as file:
            return file.readline(16).strip() != b"tree"
    return not suffixes or suffixes[-1] not in {
        ".npz", ".safetensors", ".skops", ".joblib", ".pkl", ".pickle", ".json", ".ubj", ".pt",
    }  # fmt: skip


def read_cells(path: Path, form: TableFormat) -> pd.DataFrame:
    """All columns of a table: text as it stands, typed columns as they are.

    Parameters
    ----------
    path : Path
        The file.
    form : TableFormat
        How text is written.

    Returns
    -------
    pandas.DataFrame
        Rows.

    Raises
    ------
    ValueError
        If the file is not a table, or has two columns of one name.
    OSError
        If the file cannot be read.
    """
    import pandas as pd

    suffix = path.suffix.lower()
    if suffix in _TYPED:
        table = _read_typed(path, suffix)
        names = [str(name).strip() for name in table.columns]
    else:
        raw = _read_text(path, form)
        names = [str(name).strip() for name in raw.iloc[0]]
        table = raw.iloc[1:].reset_index(drop=True)
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"{path} has several columns of the name {_list(twice)}")
    table.columns = pd.Index(names)
    if not len(table):
        raise ValueError(f"{path} has column names and no rows")
    return table


def _read_typed(path: Path, suffix: str) -> pd.DataFrame:
    import pandas as pd

    needed = "pyarrow" if suffix == ".parquet" else "openpyxl"
    load(needed, f"reading {path.name}")
    try:
        return pd.read_parquet(path) if suffix == ".parquet" else pd.read_excel(path)
    except OSError as error:
        if type(error).__module__ == "builtins":  # no such file, no permission
            raise
        raise ValueError(f"{path} is not a {suffix[1:]} file: {error}") from error
    except Exception as error:
        raise ValueError(f"{path} is not a {suffix[1:]} file: {error}") from error


def _read_text(path: Path, form: TableFormat) -> pd.DataFrame:
    import pandas as pd

    encoding = form.encoding
    if encoding.lower().replace("-", "").replace("_", "") == "utf8":
        encoding = "utf-8-sig"
    settings: dict[str, Any] = {"header": None, "dtype": str, "encoding": encoding}
    try:
        separator = form.sep
        if separator is None:
            line = pd.read_csv(path, sep="\x01", nrows=1, quoting=3, **settings)
            separator = max(",;\t", key=str(line.iloc[0, 0]).count)
        # names are read as a row: pandas would rename the second of two equal ones
        found: pd.DataFrame = pd.read_csv(path, sep=separator, **settings)
        return found
    except LookupError:
        raise ValueError(f"there is no encoding {form.encoding!r}") from None
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{path} is not a table of text in the encoding {form.encoding}: name another one, for "
            f"instance latin-1 ({error.reason})"
        ) from error
    except (pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise ValueError(
            f"{path} is not a table of comma-separated values: {' '.join(str(error).split())}"
        ) from error


def check_columns(names: Sequence[str], wanted: Collection[str], path: Path) -> None:
    """Refuse columns that a table does not have, with those of nearly the same name.

    Parameters
    ----------
    names : sequence of str
        Columns of the table.
    wanted : collection of str
        Columns that are needed.
    path : Path
        The file, for the message.

    Raises
    ------
    ValueError
        If one is missing.
    """
    for name in wanted:
        if name not in names:
            meant = did_you_mean([name], names) or ";"
            raise ValueError(
                f"{path} has no column {name!r}{meant} its columns are {_list(names, 20)}"
            )


def read_numbers(
    table: pd.DataFrame, names: Sequence[str], path: Path, form: TableFormat, first: int
) -> pd.DataFrame:
    """Columns of numbers.

    Parameters
    ----------
    table : pandas.DataFrame
        Cells.
    names : sequence of str
        The columns.
    path : Path
        The file, for messages.
    form : TableFormat
        How numbers are written.
    first : int
        Line of the first row.

    Returns
    -------
    pandas.DataFrame
        The columns, as float64.

    Raises
    ------
    ValueError
        If there is text, or a value is missing or infinite.
    """
    import pandas as pd

    part = table[list(names)]
    missing = part.isna()
    if missing.to_numpy().any():
        columns = [name for name in names if missing[name].any()]
        lines = np.flatnonzero(missing.any(axis=1)) + first
        raise ValueError(
            f"{path} has missing values in {len(lines)} rows (lines {_list(lines)}; columns "
            f"{_list(columns)}): fill them, or drop these rows or columns"
        )
    found = {name: _to_numbers(part[name], form.decimal) for name in names}
    words = [name for name in names if found[name].isna().any()]
    if words:
        at = int(np.flatnonzero(found[words[0]].isna())[0])
        value, at = str(part[words[0]].iloc[at]), int(table.index[at])
        other = "," if form.decimal == "." else "."
        swapped = pd.Series([value.strip().replace(other, form.decimal)])
        swap = other in value and not _to_numbers(swapped, form.decimal).isna().any()
        remedy = (
            f"decimal={other!r} reads these numbers (on the command line --decimal {other}, "
            "once for each table if they differ)"
            if swap
            else "encode or drop these columns (on the command line --drop)"
        )
        raise ValueError(
            f"{path} has text where numbers are needed, in columns {_list(words)}; the first is "
            f"{value!r} in line {at + first}: {remedy}"
        )
    numbers = pd.DataFrame(found, index=table.index)
    wrong = [name for name in names if not np.isfinite(numbers[name]).all()]
    if wrong:
        raise ValueError(f"{path} has infinite values in columns {_list(wrong)}")
    return numbers


def read_features(
    table: pd.DataFrame, names: Sequence[str], path: Path, form: TableFormat, first: int
) -> pd.DataFrame:
    """Columns of numbers or of text, with gaps where values are missing.

    Parameters
    ----------
    table : pandas.DataFrame
        Cells.
    names : sequence of str
        The columns.
    path : Path
        The file, for messages.
    form : TableFormat
        How numbers are written.
    first : int
        Line of the first row.

    Returns
    -------
    pandas.DataFrame
        Columns of numbers as float64, the others as they stand.

    Raises
    ------
    ValueError
        If a column is mostly numbers and not all, or a value is infinite.
    """
    found = {}
    for name in names:
        column = table[name]
        known = column.notna()
        numbers = _to_numbers(column.where(known), form.decimal)
        share = float(numbers[known].notna().mean()) if known.any() else 1.0
        if share == 1.0:
            if np.isinf(numbers).any():
                raise ValueError(f"{path} has infinite values in columns {name!r}")
            found[name] = numbers
        elif share >= _MOSTLY or _other_decimal(column[known], form.decimal):
            rows = known & numbers.isna()
            read_numbers(table[rows], [name], path, form, first)  # says which
        else:
            found[name] = column
    return _frame(found, table)


def _frame(columns: dict[str, Any], table: pd.DataFrame) -> pd.DataFrame:
    import pandas as pd

    return pd.DataFrame(columns, index=table.index)


def _other_decimal(column: pd.Series[Any], decimal: str) -> bool:
    """Whether text is numbers with the other sign before decimals."""
    other = "," if decimal == "." else "."
    return bool(_to_numbers(column, other).notna().mean() >= _MOSTLY)


def _to_numbers(column: pd.Series[Any], decimal: str) -> pd.Series[Any]:
    """Numbers where there are some, else NaN."""
    import pandas as pd

    if pd.api.types.is_bool_dtype(column) or pd.api.types.is_numeric_dtype(column):
        return column.astype(np.float64)
    if pd.api.types.is_datetime64_any_dtype(column):
        return pd.Series(np.nan, index=column.index)
    text = column.astype(str).str.strip()
    if decimal != ".":
        text = text.str.replace(".", "x", regex=False).str.replace(decimal, ".", regex=False)
    return pd.to_numeric(text, errors="coerce").astype(np.float64)


def read_labels_of(
    table: pd.DataFrame, label: str, path: Path, form: TableFormat, first: int
) -> pd.Series[Any]:
    """The column of the labels: numbers if all of them are, else text."""
    column = table[label]
    missing = column.isna()
    if missing.any():
        lines = np.flatnonzero(missing) + first
        raise ValueError(
            f"{path} has missing values in {len(lines)} rows (lines {_list(lines)}; columns "
            f"{label!r}): these rows have no label; fill or drop them"
        )
    if _is_bool(column):
        return column
    numbers = _to_numbers(column, form.decimal)
    return column.astype(str).str.strip() if numbers.isna().any() else numbers


def _is_bool(column: pd.Series[Any]) -> bool:
    import pandas as pd

    return bool(pd.api.types.is_bool_dtype(column))


def read_table(
    path: Path | str,
    label: str,
    *,
    drop: Collection[str] = (),
    encoding: str = "utf-8",
    decimal: str = ".",
    sep: str | None = None,
) -> tuple[pd.DataFrame, pd.Series[Any]]:
    r"""Features and labels of a table with a line of column names (needs pandas).

    Parameters
    ----------
    path : Path or str
        The file: text with commas, semicolons or tabs between fields, also compressed (.csv.gz);
        .parquet (needs pyarrow); or .xlsx (needs openpyxl).
    label : str
        Column of the labels: numbers, or names of classes.
    drop : collection of str, default=()
        Columns that are left out.
    encoding : str, default="utf-8"
        Of text.
    decimal : str, default="."
        Sign before the decimals of numbers in text.
    sep : str or None, default=None
        Between fields of text; None to see it from the first line.

    Returns
    -------
    X : pandas.DataFrame of shape (n_samples, n_features)
        The other columns, as float64.
    y : pandas.Series of shape (n_samples,)
        The labels.

    Raises
    ------
    ValueError
        If the file is not a table, has no such column, no features, two columns of one name,
        missing values, or text where numbers are needed; the message names file, column and line.
    OSError
        If the file cannot be read.
    ModuleNotFoundError
        If a library for this kind of file is not installed.

    See Also
    --------
    retemper.advise

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from retemper.datasets import read_table
    >>> file = Path(tempfile.mkdtemp()) / "houses.csv"
    >>> _ = file.write_text("rooms,area,price\n2,60,100\n3,85,140\n")
    >>> X, y = read_table(file, "price")
    >>> list(X.columns), y.tolist()
    (['rooms', 'area'], [100.0, 140.0])
    """
    path, form = as_path(path), TableFormat(encoding, decimal, sep)
    check_kind(label, "label", str)
    check_texts(drop, "drop")
    table, first = read_cells(path, form), _FIRST_LINE
    names = list(table.columns)
    with naming("label"):
        check_columns(names, (label,), path)
    with naming("drop"):
        check_columns(names, drop, path)
    features = [name for name in names if name != label and name not in drop]
    if not features:
        raise ValueError(f"{path} has no column beside {label!r}: there are no features")
    X = read_numbers(table, features, path, form, first)
    return X, read_labels_of(table, label, path, form, first)


@dataclasses.dataclass
class TargetTable:
    """A target table whose columns have their parts to play.

    Attributes
    ----------
    path : Path
        The file.
    X : pandas.DataFrame of shape (n, d)
        Features.
    y : pandas.Series of shape (n,)
        Labels.
    groups, weights : pandas.Series of shape (n,) or None
        What rows belong to, and their weights.
    splits : list of tuple or None
        Earlier rows to learn from and later rows to judge.
    """

    path: Path
    X: pd.DataFrame
    y: pd.Series[Any]
    groups: pd.Series[Any] | None
    weights: pd.Series[Any] | None
    splits: list[Any] | None

    @property
    def is_numbers(self) -> bool:
        """Whether all features are numbers without gaps."""
        return all(_is_plain(self.X[name]) for name in self.X)


def check_dropped(drop: Collection[str], tables: Mapping[Path, pd.DataFrame]) -> None:
    """Refuse columns to drop that no table has.

    Parameters
    ----------
    drop : collection of str
        Names.
    tables : mapping of Path to pandas.DataFrame
        Cells of all tables, the target last.

    Raises
    ------
    ValueError
        If a name is in none.
    """
    seen = {str(name) for table in tables.values() for name in table.columns}
    for name in drop:
        if name not in seen:
            *_, (path, table) = tables.items()
            check_columns(list(table.columns), [name], path)


def read_target(
    path: Path,
    table: pd.DataFrame,
    form: TableFormat,
    *,
    label: str,
    groups: str | None = None,
    time: str | None = None,
    weights: str | None = None,
    name: str | None = None,
    drop: Collection[str] = (),
) -> TargetTable:
    """Read a target table.

    Parameters
    ----------
    path : Path
        The file, for messages.
    table : pandas.DataFrame
        Its cells.
    form : TableFormat
        How text is written.
    label : str
        Column of the labels.
    groups, time, weights, name : str or None, default=None
        Columns of groups, of dates or numbers in order, of weights, and of names of rows.
    drop : collection of str, default=()
        Columns that are left out, where there are such.

    Returns
    -------
    TargetTable
        Checked; in order of time if there is one.

    Raises
    ------
    ValueError
        As `read_table`; and if a column has two parts to play, times cannot be read, or names of
        rows are not different.
    """
    parts = {"label": label, "groups": groups, "time": time, "weights": weights, "id": name}
    played = {part: column for part, column in parts.items() if column is not None}
    for part, column in played.items():
        same = [p for p, c in played.items() if c == column and p != part]
        if same:
            raise ValueError(f"column {column!r} cannot be --{part} and --{same[0]}")
        if column in drop:
            raise ValueError(f"column {column!r} cannot be --{part} and --drop")
    if groups is not None and time is not None:
        raise ValueError(
            "--groups and --time exclude each other: --groups for a model of new groups, --time "
            "for one of later rows"
        )
    names, first = list(table.columns), _FIRST_LINE
    check_columns(names, list(played.values()), path)
    if name is not None and table[name].duplicated().any():
        at = int(np.flatnonzero(table[name].duplicated())[0])
        raise ValueError(
            f"{path} has {table[name].iloc[at]!r} more than once in its --id column {name!r} (line "
            f"{at + first}): if rows of one name belong together, pass --groups {name}"
        )
    if groups is not None and table[groups].isna().any():
        at = int(np.flatnonzero(table[groups].isna())[0])
        raise ValueError(f"{path} has no group in line {at + first} of column {groups!r}: fill it")
    splits = None
    if time is not None:
        when = _times(table[time], time, path, form, first)
        table = table.iloc[np.argsort(when, kind="stable")].reset_index(drop=True)
        splits = time_splits(np.sort(when, kind="stable"))
    features = [n for n in names if n not in played.values() and n not in drop]
    if not features:
        raise ValueError(f"{path} has no column beside {label!r}: there are no features")
    return TargetTable(
        path,
        read_features(table, features, path, form, first),
        read_labels_of(table, label, path, form, first),
        None if groups is None else table[groups].astype(str),
        None if weights is None else read_numbers(table, [weights], path, form, first)[weights],
        splits,
    )


def read_source_table(
    path: Path, table: pd.DataFrame, form: TableFormat, target: TargetTable, label: str
) -> tuple[pd.DataFrame, pd.Series[Any]]:
    """Rows and labels of a source, with the columns of the target.

    Parameters
    ----------
    path : Path
        The file, for messages.
    table : pandas.DataFrame
        Its cells.
    form : TableFormat
        How text is written.
    target : TargetTable
        Whose features are needed; other columns may hold anything.
    label : str
        Column of the labels.

    Returns
    -------
    tuple of pandas.DataFrame and pandas.Series
        Rows and labels.

    Raises
    ------
    ValueError
        As `read_table`, and if a feature of the target is missing.
    """
    names, first = list(table.columns), _FIRST_LINE
    check_columns(names, [label], path)
    features = list(target.X.columns)
    lacking = [name for name in features if name not in names]
    if lacking:
        meant = did_you_mean(lacking, names) or ";"
        raise ValueError(
            f"{path} lacks columns of {target.path}: {_list(lacking)}{meant} rename them, or "
            f"leave them out with --drop {' '.join(lacking[:_SHOWN])}"
        )
    # the others may have text or gaps; so may all, where the target is encoded anyhow
    plain = [
        n
        for n in features
        if _is_plain(target.X[n]) and (target.is_numbers or bool(table[n].notna().all()))
    ]
    rest = [n for n in features if n not in plain]
    numbers = read_numbers(table, plain, path, form, first)
    X = numbers.join(read_features(table, rest, path, form, first))[features]
    return X, read_labels_of(table, label, path, form, first)


def _is_plain(column: pd.Series[Any]) -> bool:
    return column.dtype == np.float64 and bool(column.notna().all())


def _times(
    column: pd.Series[Any], name: str, path: Path, form: TableFormat, first: int
) -> NDArray[np.float64]:
    """Times as numbers."""
    import pandas as pd

    numbers = _to_numbers(column, form.decimal)
    if not numbers.isna().any():
        return np.asarray(numbers, dtype=np.float64)
    when = column
    if not pd.api.types.is_datetime64_any_dtype(
        column
    ):  # other orders of day and month are guesses
        when = pd.to_datetime(column.astype(str), format="ISO8601", errors="coerce", utc=True)
    if when.isna().any():
        at = int(np.flatnonzero(when.isna())[0])
        raise ValueError(
            f"{path} must have numbers or dates such as 2024-05-31 in its --time column {name!r}, "
            f"got {str(column.iloc[at])!r} in line {at + first}"
        )
    return np.asarray(when.astype("int64"), dtype=np.float64)


def time_splits(
    when: NDArray[np.float64], n_splits: int = 5
) -> list[tuple[NDArray[np.intp], NDArray[np.intp]]]:
    """Splits whose rows to judge come after all rows to learn from.

    Parameters
    ----------
    when : ndarray of shape (n,)
        Times, in order; equal ones are on one side.
    n_splits : int, default=5
        At most so many.

    Returns
    -------
    list of tuple of ndarray
        Rows to learn from, which are all before, and rows to judge.

    Raises
    ------
    ValueError
        If there are too few different times.
    """
    n = len(when)
    starts = np.flatnonzero(np.diff(when, prepend=-np.inf) > 0)
    cuts = [starts[np.searchsorted(starts, n * k / (n_splits + 1))]
            for k in range(1, n_splits + 1) if starts[-1] >= n * k / (n_splits + 1)]  # fmt: skip
    cuts = [cut for cut in sorted(set(cuts)) if cut >= 4]
    if not cuts:
        raise ValueError(
            f"--time must have different times, 4 rows before the last of them, got {len(starts)} "
            f"different times in {n} rows"
        )
    every = np.arange(n)
    return [(every[:a], every[a:b]) for a, b in zip(cuts, [*cuts[1:], n], strict=True)]


def _list(items: Any, most: int = _SHOWN) -> str:
    listed = [repr(item) if isinstance(item, str) else str(item) for item in items]
    more = f" and {len(listed) - most} more" if len(listed) > most else ""
    return ", ".join(listed[:most]) + more

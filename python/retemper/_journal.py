"""A file that only grows: whole records survive whatever ends the process that writes them."""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

try:
    import fcntl
except ImportError:  # Windows has no advisory locks: sizes are compared all the same
    fcntl = None  # type: ignore[assignment]

__all__ = ["Journal", "only_writer"]

_FORMAT = 3
#: Seconds for which another process may hold a file: it takes milliseconds to add a record.
_PATIENCE = 1.0


@contextlib.contextmanager
def only_writer(folder: Path, kind: str) -> Iterator[None]:
    """Keep other processes from writing to a folder; a killed process keeps nobody.

    Parameters
    ----------
    folder : Path
        The folder; it is made if need be.
    kind : str
        What writes to it, for messages.

    Raises
    ------
    RuntimeError
        If another process writes to it.
    OSError
        If it cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as error:
        message = f"a {kind} cannot keep its results here ({error.strerror})"
        raise OSError(error.errno, message, str(folder)) from error
    try:
        if fcntl is not None:
            try:  # of the process alone: workers that outlive it do not inherit this kind
                fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except (BlockingIOError, PermissionError):
                raise RuntimeError(
                    f"{folder} is being written by another process; give every {kind} a folder of "
                    "its own, or wait for that one"
                ) from None
            except OSError:
                pass  # a file system without locks
        yield
    finally:
        os.close(handle)


class Journal:
    """Records on disk, one a line, each flushed before the call that adds it returns.

    A file that was cut in the middle of a record, by a kill or a full disk, goes on after the last
    whole one. Two writers of one file are told of each other before either writes.

    Parameters
    ----------
    path : Path
        The file; it is made by the first record.
    kind : str
        What writes it, for messages.
    identity : str
        Of what the records belong to; a file of another identity is refused.

    Attributes
    ----------
    records : list of dict
        Those of the file when it was opened.
    n_records : int
        Number of those in it now.
    """

    def __init__(self, path: Path, kind: str, identity: str) -> None:
        self.path, self.kind = path, kind
        self._header = json.dumps({"kind": kind, "format": _FORMAT, "identity": identity}) + "\n"
        self.records: list[dict[str, Any]] = []
        self._size = self.n_records = 0
        if path.exists():
            self._read()

    def _read(self) -> None:
        content = self.path.read_bytes()
        lines = content.split(b"\n")
        if len(lines) == 1 and self._header.encode().startswith(content):
            return  # cut inside the first line, before any record
        self._check_header(lines[0])
        self._size = len(lines[0]) + 1
        for number, line in enumerate(lines[1:-1], start=2):
            try:
                self.records.append(json.loads(line))
            except ValueError as error:
                raise ValueError(
                    f"line {number} of {self.path} is damaged, and more lines follow it: {error}"
                ) from None
            self._size += len(line) + 1
        self.n_records = len(self.records)

    def _check_header(self, line: bytes) -> None:
        try:
            header = json.loads(line)
            kind, form = header["kind"], header["format"]
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{self.path} is not the file of a {self.kind}: {error}") from None
        if kind != self.kind or form != _FORMAT:
            raise ValueError(
                f"{self.path} is not the file of a {self.kind} of this version: it is that of a "
                f"{kind} in format {form}, and this version reads format {_FORMAT}"
            )
        if header != json.loads(self._header):
            raise ValueError(
                f"{self.path} was written by a {self.kind} of other data or with other settings; "
                "choose another path, or remove it"
            )

    def append(self, record: dict[str, Any]) -> None:
        """Add a record.

        Parameters
        ----------
        record : dict
            What JSON holds.

        Raises
        ------
        RuntimeError
            If another process has written to the file since it was read.
        OSError
            If it cannot be written; the file is then as before.
        """
        text = json.dumps(record) + "\n"
        if not self._size:
            text = self._header + text
        data = text.encode()
        try:
            handle = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o666)
        except OSError as error:
            raise self._failed(error) from error
        try:
            self._lock(handle)
            self._check_alone(handle)
            self._write(handle, data)
        finally:
            os.close(handle)
        self._size += len(data)
        self.n_records += 1

    def _lock(self, handle: int) -> None:
        if fcntl is None:
            return
        end = time.monotonic() + _PATIENCE
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:  # by one that is about to be refused, perhaps
                if time.monotonic() > end:
                    raise self._shared() from None
                time.sleep(0.005)
            except OSError:
                return  # a file system without locks
            else:
                return

    def _check_alone(self, handle: int) -> None:
        size = os.fstat(handle).st_size
        if size < self._size:
            raise self._shared()
        if size > self._size:  # a record cut short, or one of somebody else
            os.lseek(handle, self._size, os.SEEK_SET)
            rest = os.read(handle, size - self._size)
            if b"\n" in rest:
                raise self._shared()

    def _write(self, handle: int, data: bytes) -> None:
        try:
            os.ftruncate(handle, self._size)
            os.lseek(handle, self._size, os.SEEK_SET)
            done = 0
            while done < len(data):
                done += os.write(handle, data[done:])
            os.fsync(handle)
        except OSError as error:
            os.ftruncate(handle, self._size)
            raise self._failed(error) from error

    def _shared(self) -> RuntimeError:
        return RuntimeError(
            f"{self.path} is being written by another process; give every {self.kind} a path of "
            "its own"
        )

    def _failed(self, error: OSError) -> OSError:
        return OSError(
            error.errno,
            f"this record was not kept, the {self.n_records} before it are ({error.strerror}); "
            "make room or choose another path, and make the call again",
            str(self.path),
        )

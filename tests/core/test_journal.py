"""Whole records survive kills, full disks, read-only folders and a second writer."""

from __future__ import annotations

import errno
import json
import os
import random
import signal
import subprocess
import sys
import time

import pytest

from retemper import _journal
from retemper._journal import Journal, only_writer

#: `RETEMPER_KILLS=200` kills as often; a few are enough for every run.
KILLS = int(os.environ.get("RETEMPER_KILLS", "8"))

WRITER = """
import sys
from pathlib import Path
from retemper._journal import Journal
journal = Journal(Path(sys.argv[1]), "test", "a")
print(journal.n_records, flush=True)
while True:
    n = journal.n_records
    journal.append({"n": n, "text": "x" * (n * 37 % 5000)})
    print(n, flush=True)
"""


def journal_of(path, identity="a"):
    return Journal(path, "test", identity)


def filled(path, n=3):
    journal = journal_of(path)
    for k in range(n):
        journal.append({"n": k, "value": [0.1 * k, "é"]})
    return journal


def test_what_is_added_comes_back(tmp_path):
    path = tmp_path / "journal"
    assert journal_of(path).records == []
    assert not path.exists()
    journal = filled(path)
    assert journal_of(path).records == [{"n": k, "value": [0.1 * k, "é"]} for k in range(3)]
    assert journal.n_records == 3
    again = journal_of(path)
    again.append({"n": 3})
    assert [r["n"] for r in journal_of(path).records] == [0, 1, 2, 3]


def test_a_file_cut_anywhere_goes_on_after_its_last_whole_record(tmp_path):
    path = tmp_path / "journal"
    filled(path)
    whole = path.read_bytes()
    ends = [i + 1 for i, byte in enumerate(whole) if byte == ord("\n")]
    for cut in range(len(whole) + 1):
        path.write_bytes(whole[:cut])
        journal = journal_of(path)
        kept = max(sum(end <= cut for end in ends) - 1, 0)
        assert [r["n"] for r in journal.records] == list(range(kept))
        journal.append({"n": kept})
        assert [r["n"] for r in journal_of(path).records] == list(range(kept + 1))


def test_damage_in_the_middle_is_named(tmp_path):
    path = tmp_path / "journal"
    filled(path)
    lines = path.read_bytes().split(b"\n")
    path.write_bytes(b"\n".join([lines[0], b"{half", *lines[2:]]))
    with pytest.raises(ValueError, match=r"line 2 of .*journal is damaged"):
        journal_of(path)


@pytest.mark.parametrize("text", ["{}", "no file of ours", "[]\n{}\n", '{"kind": "test"}\n'])
def test_other_files_are_refused(tmp_path, text):
    path = tmp_path / "journal"
    path.write_text(text)
    with pytest.raises(ValueError, match="is not the file of a test"):
        journal_of(path)
    assert path.read_text() == text


def test_other_settings_and_other_formats_are_refused(tmp_path):
    path = tmp_path / "journal"
    filled(path)
    with pytest.raises(ValueError, match="of other data or with other settings"):
        journal_of(path, "b")
    path.write_text(json.dumps({"kind": "test", "format": 2, "identity": "a"}) + "\n")
    with pytest.raises(ValueError, match="in format 2, and this version reads format 3"):
        journal_of(path)


def test_a_second_writer_is_told_before_anything_is_lost(tmp_path):
    path = tmp_path / "journal"
    first = filled(path)
    second = journal_of(path)
    second.append({"n": 3})
    with pytest.raises(RuntimeError, match="written by another process"):
        first.append({"n": 33})
    assert [r["n"] for r in journal_of(path).records] == [0, 1, 2, 3]


@pytest.mark.skipif(_journal.fcntl is None, reason="no locks on this system")
def test_a_locked_file_is_not_written(tmp_path):
    path = tmp_path / "journal"
    journal = filled(path)
    before = path.read_bytes()
    with path.open("rb") as file:
        _journal.fcntl.flock(file, _journal.fcntl.LOCK_EX)
        with pytest.raises(RuntimeError, match="written by another process"):
            journal.append({"n": 3})
    assert path.read_bytes() == before
    journal.append({"n": 3})


def test_a_full_disk_leaves_the_file_as_it_was(tmp_path, monkeypatch):
    path = tmp_path / "journal"
    journal = filled(path)
    before, write = path.read_bytes(), os.write

    def full(handle, data):
        if len(data) < 10:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(handle, data[:9])

    monkeypatch.setattr(_journal.os, "write", full)
    with pytest.raises(OSError, match=r"not kept, the 3 before it are .No space left"):
        journal.append({"n": 3})
    assert path.read_bytes() == before
    monkeypatch.undo()
    journal.append({"n": 3})
    assert [r["n"] for r in journal_of(path).records] == [0, 1, 2, 3]


def test_a_folder_that_cannot_be_written_is_named(tmp_path, monkeypatch):
    def refused(*args):
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(_journal.os, "open", refused)
    with pytest.raises(OSError, match="Read-only file system") as caught:
        journal_of(tmp_path / "journal").append({"n": 0})
    assert caught.value.filename == str(tmp_path / "journal")


@pytest.mark.slow
def test_nothing_is_lost_or_doubled_by_kills(tmp_path):
    path = tmp_path / "journal"
    choose = random.Random(0)
    known = 0
    for _ in range(KILLS):
        child = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True
        )
        assert int(child.stdout.readline()) >= known
        time.sleep(choose.uniform(0.0, 0.05))
        child.send_signal(signal.SIGKILL if hasattr(signal, "SIGKILL") else signal.SIGTERM)
        said = [int(line) for line in child.communicate()[0].split("\n")[:-1]]
        records = journal_of(path).records
        assert [r["n"] for r in records] == list(range(len(records)))
        known = max([known, *(n + 1 for n in said)])
        assert len(records) >= known, "a record that was confirmed is gone"
    print(f"{KILLS} kills: {len(journal_of(path).records)} records, none lost, none doubled")


@pytest.mark.skipif(_journal.fcntl is None, reason="no locks on this system")
def test_a_folder_has_one_writer_and_a_killed_one_keeps_nobody(tmp_path):
    program = (
        "import sys, time; from pathlib import Path; from retemper._journal import only_writer\n"
        "with only_writer(Path(sys.argv[1]), 'test'): print('here', flush=True); time.sleep(60)"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path / "new")], stdout=subprocess.PIPE, text=True
    )
    assert child.stdout.readline() == "here\n"
    with (
        pytest.raises(RuntimeError, match="new is being written by another process"),
        only_writer(tmp_path / "new", "test"),
    ):
        pass
    child.kill()
    child.communicate()
    with only_writer(tmp_path / "new", "test"):
        pass

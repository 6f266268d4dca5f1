"""Files are written whole, and what is no plain file keeps its place."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from catalogs.errors import UsageError
from optimizer.atomic import write_atomically


def test_a_file_is_replaced_with_its_permissions(tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    path.write_text("old", encoding="utf-8")
    path.chmod(0o640)
    write_atomically(path, "new ü")
    assert path.read_text("utf-8") == "new ü"
    assert path.stat().st_mode & 0o777 == 0o640
    assert [entry.name for entry in tmp_path.iterdir()] == ["report.html"]


def test_a_new_file_may_be_read_by_whom_the_process_lets(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        write_atomically(tmp_path / "report.html", "new")
    finally:
        os.umask(before)
    assert (tmp_path / "report.html").stat().st_mode & 0o777 == 0o644


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "latest").symlink_to("real")
    write_atomically(tmp_path / "latest", "news")
    assert (tmp_path / "latest").is_symlink()
    assert (tmp_path / "real").read_text("utf-8") == "news"


def test_a_pipe_is_written_through(tmp_path: Path) -> None:
    pipe, read = tmp_path / "pipe", []
    os.mkfifo(pipe)
    reader = threading.Thread(target=lambda: read.append(pipe.read_text("utf-8")), daemon=True)
    reader.start()
    write_atomically(pipe, "news")
    reader.join(timeout=10)
    assert read == ["news"]
    assert pipe.is_fifo()


def test_a_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"nowhere/x\.txt: cannot be written \(No such file or directory\)"):
        write_atomically(tmp_path / "nowhere" / "x.txt", "")

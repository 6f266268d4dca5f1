from __future__ import annotations

from pathlib import Path

import pytest

from catalogs.errors import DataFileError
from catalogs.runs import Run, read_runs

HEADER = "id,accelerator,n_accel,framework,layers,hidden,seq,gbs,tokens_per_s_per_accel,step_s,features,extra"
ROW = "a,a100-sxm-80g,8,megatron-lm,32,4096,2048,64,1000,,moe;compile,whatever"


def written(tmp_path: Path, *rows: str, header: str = HEADER) -> Path:
    path = tmp_path / "runs.csv"
    path.write_text("\n".join((header, *rows)) + "\n", encoding="utf-8")
    return path


def test_empty_cells_are_unknown_and_unknown_columns_ignored(tmp_path: Path) -> None:
    (run,) = read_runs(written(tmp_path, ROW))
    assert run.step_s is None
    assert run.features == {"moe", "compile"}
    assert run.line == 2


def test_step_time_follows_from_throughput(tmp_path: Path) -> None:
    (run,) = read_runs(written(tmp_path, ROW))
    assert run.measured_step_s == pytest.approx(64 * 2048 / (1000 * 8))


def test_given_step_time_wins() -> None:
    assert Run(id="a", step_s=2.5, tokens_per_s_per_accel=1, gbs=1, seq=1, n_accel=1).measured_step_s == 2.5


@pytest.mark.parametrize(
    ("rows", "header", "message"),
    [
        ((ROW.replace("4096", "wide"),), HEADER, r"runs\.csv:2: run 'a': column hidden: .*'wide'"),
        ((ROW, ROW), HEADER, r"runs\.csv:3: run id 'a' is already on line 2"),
        ((ROW,), HEADER.replace("hidden", "width"), r"runs\.csv:1: no column hidden"),
        ((ROW.replace("1000", '"1000,5"'),), HEADER, r"'1000,5' is not a plain number; .* decimal comma"),
        ((ROW,), HEADER.replace(",", ";"), r"runs\.csv:1: columns are separated by semicolons"),
        ((ROW,), HEADER.replace("extra", "hidden"), r"runs\.csv:1: column hidden appears twice"),
        ((ROW + ",more",), HEADER, r"runs\.csv:2: row does not have 12 cells"),
        ((ROW.replace("1000", "inf"),), HEADER, r"runs\.csv:2: run 'a': column tokens_per_s_per_accel: .*finite"),
        ((ROW.replace(",8,", ",0,"),), HEADER, r"runs\.csv:2: run 'a': column n_accel"),
    ],
)
def test_errors_name_file_and_line(tmp_path: Path, rows: tuple[str, ...], header: str, message: str) -> None:
    with pytest.raises(DataFileError, match=message):
        read_runs(written(tmp_path, *rows, header=header))


def test_missing_file() -> None:
    with pytest.raises(DataFileError, match="no such file"):
        read_runs("nowhere.csv")

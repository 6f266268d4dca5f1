"""``estimate --trace``: a trace that viewers read, whose rows add up to the predicted step."""

from __future__ import annotations

import json
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Cli

BASE = ("estimate", "-m", "llama-2-7b", "--json")
H100 = ("-H", "h100-sxm-80g")

LAYOUTS = {
    "1f1b": (*H100, "--tp", "2", "--pp", "4", "--dp", "2", "--global-batch", "16"),
    "interleaved": (*H100, "--tp", "2", "--pp", "4", "--vpp", "2", "--dp", "2", "--global-batch", "32"),
    "zero_bubble": (
        "-H",
        "mi300x",
        "--tp",
        "2",
        "--pp",
        "4",
        "--dp",
        "2",
        "--global-batch",
        "16",
        "--schedule",
        "zero_bubble",
    ),
    "uneven": (*H100, "--tp", "2", "--pp", "5", "--dp", "2", "--global-batch", "16"),
    "recomputed": (*H100, "--tp", "2", "--pp", "2", "--dp", "2", "--global-batch", "16", "--recompute", "first-5"),
    "no pipeline": (*H100, "--tp", "2", "--dp", "4", "--global-batch", "16"),
    "few": (*H100, "--tp", "2", "--pp", "8", "--dp", "2", "--global-batch", "4"),
}


def traced(cli: Cli, path: Path, *layout: str) -> tuple[dict[str, Any], dict[str, Any]]:
    done = cli(*BASE, *layout, "--trace", str(path))
    assert done.code == 0, done.err
    return json.loads(done.out), json.loads(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", LAYOUTS)
def test_every_row_adds_up_to_the_step(name: str, cli: Cli, tmp_path: Path) -> None:
    estimate, trace = traced(cli, tmp_path / "trace.json", *LAYOUTS[name])
    layout = estimate["layout"]
    slices = [event for event in trace["traceEvents"] if event["ph"] == "X"]
    assert {one["tid"] for one in slices} == set(range(layout["pp"]))
    for stage in range(layout["pp"]):
        row = [one for one in slices if one["tid"] == stage]
        assert row[0]["ts"] == 0
        assert all(one["dur"] > 0 for one in row)
        assert all(b["ts"] == pytest.approx(a["ts"] + a["dur"], rel=1e-9) for a, b in pairwise(row))
        assert sum(one["dur"] for one in row) == pytest.approx(estimate["step_s"] * 1e6, rel=1e-9)
        passes = Counter(one["name"] for one in row)
        assert passes["forward"] == passes["backward"] == layout["micro_batches"] * layout["vpp"]
        assert passes["weight gradient"] == (layout["micro_batches"] if name == "zero_bubble" else 0)
        assert (passes["recompute"] > 0) == (name == "recomputed")
        for part in ("data_comm", "optimizer"):
            (one,) = (x for x in row if x["name"] == part)
            assert one["dur"] == pytest.approx(estimate["time"][part] * 1e6, rel=1e-6)


@pytest.mark.parametrize("name", ["1f1b", "no pipeline"])
def test_the_slowest_stage_works_as_long_as_the_estimate_says(name: str, cli: Cli, tmp_path: Path) -> None:
    estimate, trace = traced(cli, tmp_path / "trace.json", *LAYOUTS[name])
    last = estimate["layout"]["pp"] - 1  # the head stands there
    row = [one for one in trace["traceEvents"] if one["ph"] == "X" and one["tid"] == last]
    work = sum(one["dur"] for one in row if one["name"] in {"forward", "backward"}) * 1e-6
    parts = ("matmul", "attention", "elementwise", "launch", "tensor_comm", "context_comm", "expert_comm", "head")
    assert work == pytest.approx(sum(estimate["time"][part] for part in parts), rel=1e-9)
    other = trace["otherData"]
    assert other["passes_longest_path_s"] == pytest.approx(other["passes_closed_form_s"], rel=1e-9)


def test_the_first_stage_waits_before_its_first_backward_pass(cli: Cli, tmp_path: Path) -> None:
    _, trace = traced(cli, tmp_path / "trace.json", *LAYOUTS["1f1b"])
    names = [one["name"] for one in trace["traceEvents"] if one["ph"] == "X" and one["tid"] == 0]
    passes = [name for name in names if name in {"forward", "backward"}]
    assert passes[:6] == ["forward"] * 4 + ["backward", "forward"]
    assert "bubble" in names[: names.index("backward")]


def test_a_trace_replaces_the_old_one_and_leaves_nothing_behind(cli: Cli, tmp_path: Path) -> None:
    path = tmp_path / "trace.json"
    path.write_text("old")
    traced(cli, path, *LAYOUTS["no pipeline"])
    assert list(tmp_path.iterdir()) == [path]


def test_what_cannot_be_written_is_said(cli: Cli, tmp_path: Path) -> None:
    done = cli(*BASE, *LAYOUTS["no pipeline"], "--trace", str(tmp_path / "missing" / "trace.json"))
    assert done.code == 2
    assert "cannot be written" in done.err


def test_a_trace_nobody_can_open_is_refused(cli: Cli, tmp_path: Path) -> None:
    done = cli(
        *BASE, *H100, "--tp", "2", "--pp", "8", "--global-batch", "100000", "--trace", str(tmp_path / "trace.json")
    )
    assert done.code == 2
    assert "too long to look at" in done.err
    assert list(tmp_path.iterdir()) == []

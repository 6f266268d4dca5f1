"""Predictions are near the measured runs, and say how near."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from catalogs.catalog import Catalog
from catalogs.runs import Run, read_runs
from optimizer.accuracy.validate import validate
from optimizer.cli import main
from tests.measured.made import LLAMA, RUNS, made, needs_runs, shown_runs


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return Catalog()


@pytest.fixture(scope="module")
def shown() -> list[Run]:
    return shown_runs()


def test_more_work_takes_longer(catalog: Catalog) -> None:
    rows = [
        made("plain", 5.0),
        made("recompute", 5.0, recompute="full"),
        made("batch", 5.0, gbs=256),
        made("small", 5.0, layers=16),
    ]
    judged = validate(catalog, rows)
    plain, recompute, batch, small = judged.predicted_s
    assert small < plain < recompute < batch
    assert 0.3 < plain / 7.5 < 3.0


def test_json_has_every_row_and_an_ordered_interval(catalog: Catalog) -> None:
    document = validate(catalog, [made("a", 5.0), made("b", 5.0, mbs=None)]).to_json()
    assert [row["status"] for row in document["rows"]] == ["ok", "skipped"]
    times = document["rows"][0]["step_s"]
    assert times["low"] < times["predicted"] < times["high"]
    assert document["summary"]["rows"] == {"ok": 1, "skipped": 1}


@needs_runs
def test_shipped_profiles_predict_the_shown_runs(catalog: Catalog, shown: list[Run]) -> None:
    judged = validate(catalog, shown)
    scores = judged.scores()
    assert scores["dense"].median <= 0.04
    assert scores["dense"].p90 <= 0.14
    assert abs(scores["dense"].bias) <= 0.02
    assert scores["moe"].median <= 0.05
    multi = judged.regret("vTrain", servers=True)
    assert multi is not None
    assert multi.mean <= 0.01


def test_commands_write_their_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fields = [name for name in LLAMA if name != "source"] + ["id", "n_accel", "gbs", "tp", "pp", "dp", "step_s"]
    lines = [",".join(fields)]
    for gbs in (64, 128):
        cells = LLAMA | {"gated": 1, "tied": 0, "id": f"r{gbs}", "n_accel": 8, "gbs": gbs, "tp": 1, "pp": 1, "dp": 8}
        lines.append(",".join(str((cells | {"step_s": gbs / 20})[name]) for name in fields))
    runs = tmp_path / "runs.csv"
    runs.write_text("\n".join(lines) + "\n", encoding="utf-8")
    assert main(["validate", "--runs", str(runs), "--json", str(tmp_path / "out.json")]) == 0
    assert "2 rows predicted, 0 skipped" in capsys.readouterr().out
    assert len(json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))["rows"]) == 2
    assert main(["calibrate", "--runs", str(runs), "--out", str(tmp_path / "new" / "profiles" / "mine.yaml")]) == 0
    assert "h100-sxm-80g.megatron-lm.bf16: 2 rows" in capsys.readouterr().out
    in_ms = tmp_path / "ms.csv"
    in_ms.write_text("\n".join([lines[0], lines[1].replace(",3.2", ",3200")]) + "\n", encoding="utf-8")
    assert main(["validate", "--runs", str(in_ms)]) == 0
    assert "'r64' on line 2" in capsys.readouterr().out
    assert main(["calibrate", "--runs", str(in_ms), "--out", str(tmp_path / "ms.yaml")]) == 3
    assert "step_s is in seconds" in capsys.readouterr().err
    assert not (tmp_path / "ms.yaml").exists()


def test_the_sample_of_the_catalog_is_cited_and_predicted(catalog: Catalog) -> None:
    """Bounds with slack on facts that ship with the project: a worse model does not pass."""
    assert len(catalog.runs) >= 200
    assert len({run.source for run in catalog.runs}) >= 50
    judged = validate(catalog, catalog.runs)
    assert not judged.skipped
    scores = judged.scores()
    assert scores["dense"].median <= 0.04
    assert scores["dense"].p90 <= 0.16
    assert abs(scores["dense"].bias) <= 0.02
    assert scores["moe"].median <= 0.05
    assert scores["moe"].p90 <= 0.2
    assert all(score.coverage >= 0.87 for score in scores.values())
    memory = judged.memory
    assert memory is not None
    assert memory.scores()["all"].median <= 0.055
    assert memory.scores()["all"].low <= 0.08
    assert memory.denied <= 0.04
    assert memory.denied_measured == 0.0


def test_memory_without_a_time_is_predicted(catalog: Catalog) -> None:
    document = validate(catalog, [made("a", None, mem_gib=50.0, mem_kind="reserved")]).to_json()
    (row,) = document["rows"]
    assert (row["status"], row["step_s"], row["mem_gib"]["kind"]) == ("ok", None, "reserved")
    memory = row["mem_gib"]
    assert memory["low"] < memory["predicted"] < memory["high"]
    assert memory["allocated"] < memory["reserved"] < memory["device"]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"recompute": ""}, "memory: recompute is not stated"),
        ({"zero": None}, "memory: zero is not stated"),
        ({"offload": "activations of modules core_attn"}, "memory: offload of modules core_attn is not modelled"),
    ],
)
def test_a_row_that_leaves_memory_open_has_no_predicted_memory(
    catalog: Catalog, changes: dict[str, object], reason: str
) -> None:
    judged = validate(catalog, [made("a", 5.0, mem_gib=50.0, **changes), made("b", None, mem_gib=50.0, **changes)])  # type: ignore[arg-type]
    timed, bare = judged.to_json()["rows"]
    assert (timed["status"], timed["reason"], timed["mem_gib"]) == ("ok", reason, None)
    assert timed["step_s"] is not None
    assert (bare["status"], bare["reason"]) == ("skipped", reason)
    assert judged.to_json()["summary"]["memory_unknown"] == {reason: 1}


def test_a_row_that_ran_is_not_denied_for_what_the_allocator_caches(catalog: Catalog) -> None:
    """Live bytes and reserve leave less room than the usual cache takes: it fits, and the device is full."""
    row = made("a", 5.0, tp=8, mbs=4, gbs=128, seq=18432, sp=True)
    (found,) = validate(catalog, [row]).to_json()["rows"]
    memory = found["mem_gib"]
    capacity = catalog.accelerators["h100-sxm-80g"].memory_bytes / 2**30
    assert 1.12 * memory["allocated"] + 6 > capacity > 1.03 * memory["allocated"] + 6
    assert memory["fits"]
    assert 0.5 < memory["p_fits"] < 0.95
    assert memory["device"] == pytest.approx(capacity)


def test_adapters_are_predicted_and_scored_by_task(catalog: Catalog) -> None:
    rows = [made(task or "plain", 2.0, framework="nemo", task=task, precision="bf16") for task in ("", "sft", "lora")]
    judged = validate(catalog, rows)
    plain, tuned, adapted = judged.predicted_s
    assert plain == tuned
    assert 0.65 < adapted / plain < 0.85
    assert set(judged.to_json()["summary"]["task"]) == {"pretrain (dense)", "sft (dense)", "lora (dense)"}
    packed = validate(catalog, [made("a", 2.0, framework="nemo", task="sft", features=frozenset({"packed_sequences"}))])
    assert packed.predicted_s[0] < 0.95 * tuned


@needs_runs
def test_measured_fine_tunings(catalog: Catalog) -> None:
    files = ("megatron_bridge.csv", "nemo.csv", "megatron_bridge_cards.csv", "papers.csv")
    rows = [run for name in files for run in read_runs(RUNS / name) if run.task in ("sft", "lora")]
    judged = validate(catalog, rows)
    scores = judged.scores([run.task for run in judged.table.runs] if judged.table else [])
    assert scores["sft"].median <= 0.12
    assert scores["lora"].median <= 0.12
    assert scores["lora"].rows >= 17
    assert judged.memory is not None
    assert judged.memory.scores()["all of task sft"].median <= 0.12
    assert len(judged.to_json()["rows"]) == len(rows)

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from catalogs.catalog import Catalog
from catalogs.runs import Run, read_runs
from optimizer.accuracy.scoreboard import END, START, Scoreboard
from optimizer.accuracy.trainings import published_runs
from optimizer.accuracy.validate import cross_validate, validate
from optimizer.calibration.constants import CONSTANTS
from optimizer.calibration.fit import Fit, fit, level_keys, predicted
from optimizer.calibration.folds import by_group, by_model, by_source, dealt
from optimizer.calibration.profiles import calibrated, to_yaml
from optimizer.cli import main
from optimizer.measured.reading import run_table

RUNS = Path(__file__).resolve().parents[2].parent / "shared" / "runs"

needs_runs = pytest.mark.skipif(not RUNS.is_dir(), reason="the measured runs are not beside this repository")

LLAMA = {
    "accelerator": "h100-sxm-80g",
    "accel_per_node": 8,
    "framework": "megatron-lm",
    "model": "llama3-8b",
    "layers": 32,
    "hidden": 4096,
    "heads": 32,
    "kv_heads": 8,
    "ffn": 14336,
    "gated": True,
    "vocab": 128256,
    "tied": False,
    "seq": 8192,
    "mbs": 1,
    "vpp": 1,
    "cp": 1,
    "zero": 1,
    "recompute": "none",
    "precision": "bf16",
    "source": "made up",
}


def made(name: str, step_s: float | None, **changes: object) -> Run:
    layout = {"id": name, "n_accel": 8, "gbs": 128, "tp": 1, "pp": 1, "sp": False, "step_s": step_s}
    return Run.model_validate(LLAMA | layout | changes)


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return Catalog()


@pytest.fixture(scope="module")
def shown() -> list[Run]:
    return [run for path in sorted(RUNS.glob("*.csv")) for run in read_runs(path)]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"suspect": "odd"}, "suspect: odd"),
        ({"mbs": None}, "mbs is not stated"),
        ({"ffn": None}, "ffn of the model is not stated"),
        ({"framework": "nobody"}, "framework 'nobody' is not in the catalog"),
        ({"accelerator": "nothing"}, "accelerator 'nothing' is not in the catalog"),
        ({"precision": ""}, "precision is not stated"),
        ({"tp": 3}, "tp·cp·pp·dp is not the number of accelerators (8)"),
        ({"step_s": None}, "neither step_s nor tokens_per_s_per_accel with gbs, seq and n_accel is given"),
        ({"task": "lora"}, "LoRA: rank and matrices of the adapters are neither stated nor known of megatron-lm"),
        ({"attention": "mla", "hidden": 4096, "heads": 31}, "ranks of the latent attention are not stated"),
        (
            {"experts": 8, "topk": 9, "moe_ffn": 64},
            "the architecture contradicts itself: topk 9 is above experts 8",
        ),
    ],
)
def test_skipped_rows_name_the_missing_fact(catalog: Catalog, changes: dict[str, object], reason: str) -> None:
    table, skipped = run_table(catalog, [made("a", **({"step_s": 5.0} | changes))])  # type: ignore[arg-type]
    assert table is None
    assert skipped[0].reason == reason


def test_what_a_row_leaves_open_follows_its_framework_and_its_time(catalog: Catalog) -> None:
    gpt = {"gated": False, "kv_heads": 32, "vocab": 50304}
    rows = [
        made("plain", 5.0),
        made("told", 5.0, features="dp_overlap"),
        made("nemo", 5.0, framework="nemo"),
        made("hidden", 5.0, features="ep_overlap;hybridep"),
        made("early", 5.0, year="2023-06"),
        made("late", 5.0, year="2023-07"),
        made("scores", 5.0, framework="megatron-deepspeed", **gpt),
        made("fused", 5.0, framework="megatron-deepspeed", features="flash_attention", **gpt),
    ]
    table, _ = run_table(catalog, rows)
    assert table is not None
    read = {run.id: i for i, run in enumerate(table.runs)}

    def of(column: np.ndarray, *names: str) -> list[float]:
        return [float(column[read[name]]) for name in names]

    assert of(table.recipe.overlaps_data, "plain", "told", "nemo", "scores") == [0, 1, 1, 0]
    assert of(table.recipe.overlaps_experts, "plain", "hidden") == [0, 1]
    assert of(table.recipe.merges_copies, "plain", "hidden") == [0, 1]
    assert of(table.recipe.first_flash, "plain", "early", "late") == [0, 1, 0]
    assert of(table.recipe.flash, "scores", "fused") == [0, 1]
    assert of(table.architecture.dropout, "scores", "fused") == [1, 0], "GPT of the time before fused attention"


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


def test_fit_recovers_the_speed_of_made_up_runs(catalog: Catalog) -> None:
    rows = [
        made(f"{layers}-{gbs}-{tp}", 1.0, layers=layers, gbs=gbs, tp=tp)
        for layers in (16, 24, 32)
        for gbs in (64, 128)
        for tp in (1, 2, 4)
    ]
    table, _ = run_table(catalog, rows)
    assert table is not None
    truth = 0.8 * predicted(catalog, table, Fit())
    timed = [row.model_copy(update={"step_s": float(s)}) for row, s in zip(rows, truth, strict=True)]
    table, _ = run_table(catalog, timed)
    assert table is not None
    fitted = fit(catalog, table)
    np.testing.assert_allclose(predicted(catalog, table, fitted), truth, rtol=0.03)
    for name, value in fitted.values(level_keys(catalog, "h100-sxm-80g", "megatron-lm", "bf16")).items():
        assert CONSTANTS[name].low < value < CONSTANTS[name].high


@needs_runs
def test_at_least_2000_shown_rows_are_predicted(catalog: Catalog, shown: list[Run]) -> None:
    table, skipped = run_table(catalog, shown)
    assert table is not None
    assert len(table) >= 2000
    assert all(row.reason for row in skipped)
    assert len(table) + len(skipped) == len(shown)


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


def test_calibrated_profiles_can_be_read_back(catalog: Catalog, tmp_path: Path) -> None:
    rows = [made(f"{tp}-{gbs}", gbs / 20.0, tp=tp, gbs=gbs) for tp in (1, 2) for gbs in (64, 128)]
    table, _ = run_table(catalog, rows)
    assert table is not None
    (profile,) = calibrated(catalog, table, date="2026-11-21")
    assert profile.rows == 4
    folder = tmp_path / "profiles"
    folder.mkdir()
    (folder / "mine.yaml").write_text(to_yaml([profile]), encoding="utf-8")
    own = Catalog([tmp_path])
    assert own.profiles[profile.name] == profile
    before, after = (np.abs(np.log(validate(c, rows).predicted_s / table.measured_s)).mean() for c in (catalog, own))
    assert after < before


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
    assert main(["calibrate", "--runs", str(runs), "--out", str(tmp_path / "mine.yaml")]) == 0
    assert "h100-sxm-80g.megatron-lm.bf16: 2 rows" in capsys.readouterr().out


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


def test_published_trainings_are_near_their_hours(catalog: Catalog) -> None:
    """Half of the published accelerator-hours within a quarter, all within a factor of two."""
    ratios = [one.hours / one.training.hours for one in published_runs(catalog) if one.training.hours]
    assert len(ratios) >= 12
    assert np.median(np.abs(np.array(ratios) - 1.0)) <= 0.3
    assert all(0.4 < ratio < 2.0 for ratio in ratios)


def test_own_history_of_ten_rows_becomes_a_profile_of_the_own_cluster(catalog: Catalog, tmp_path: Path) -> None:
    """A cluster that is a quarter slower than the shipped profile says, on rows that the calibration has not seen."""
    rows = [
        made(
            f"{tp}-{gbs}-{layers}",
            1.0,
            tp=tp,
            gbs=gbs,
            layers=layers,
            n_accel=8 * tp,
            source="us",
            software="nemo-25.07",
        )
        for tp in (1, 2, 4)
        for gbs in (64, 128)
        for layers in (16, 24, 32)
    ]
    table, _ = run_table(catalog, rows)
    assert table is not None
    truth = 1.25 * validate(catalog, rows).predicted_s
    noise = np.exp(0.01 * np.random.default_rng(0).standard_normal(len(rows)))
    rows = [row.model_copy(update={"step_s": float(s)}) for row, s in zip(rows, truth * noise, strict=True)]
    known, _ = run_table(catalog, rows[:10])
    assert known is not None
    (profile,) = calibrated(catalog, known, date="2026-11-21")
    assert profile.campaigns == ("us",)
    assert profile.cluster_log_sigma == 0.0
    folder = tmp_path / "profiles"
    folder.mkdir()
    (folder / "mine.yaml").write_text(to_yaml([profile]), encoding="utf-8")
    judged = validate(Catalog([tmp_path]), rows[10:])
    assert judged.scores()["dense"].median <= 0.05


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


def test_groups_and_sources_are_never_split(catalog: Catalog) -> None:
    rows = [
        made(f"{source}-{layers}-{gbs}", 5.0, source=source, layers=layers, gbs=gbs)
        for source in "abc"
        for layers in (16, 32)
        for gbs in (64, 128)
    ]
    table, _ = run_table(catalog, rows)
    assert table is not None
    for key, count in ((by_group, 6), (by_model, 2), (by_source, 3)):
        fold = dealt(table, 0, key=key)
        assert len(set(fold)) == count
        assert len({(key(run), part) for run, part in zip(table.runs, fold, strict=True)}) == count


def test_scoreboard_writes_its_pages(catalog: Catalog, tmp_path: Path) -> None:
    rows = [
        made(f"{source}-{layers}-{gbs}", layers * gbs / 400.0, source=source, layers=layers, gbs=gbs)
        for source in "ab"
        for layers in (16, 32)
        for gbs in (64, 128)
    ]
    (tmp_path / "README.md").write_text(f"before\n{START}\nold\n{END}\nafter\n", encoding="utf-8")
    apart = {by: cross_validate(catalog, rows, by=by) for by in ("group", "model", "source")}
    board = Scoreboard(validate(catalog, rows), apart["group"], apart["model"], apart["source"], ())
    written = board.write(tmp_path / "docs")
    assert [path.name for path in written] == ["accuracy.md", "accuracy.svg", "README.md"]
    assert "groups held apart" in written[0].read_text(encoding="utf-8")
    assert written[1].read_text(encoding="utf-8").startswith("<svg")
    text = written[2].read_text(encoding="utf-8")
    assert "old" not in text
    assert text.startswith("before")
    assert text.endswith("after\n")


def test_adapters_are_predicted_and_scored_by_task(catalog: Catalog) -> None:
    rows = [made(task or "plain", 2.0, framework="nemo", task=task, precision="bf16") for task in ("", "sft", "lora")]
    judged = validate(catalog, rows)
    plain, tuned, adapted = judged.predicted_s
    assert plain == tuned
    assert 0.65 < adapted / plain < 0.85
    assert set(judged.to_json()["summary"]["task"]) == {"pretrain (dense)", "sft (dense)", "lora (dense)"}
    packed = validate(catalog, [made("a", 2.0, framework="nemo", task="sft", features=frozenset({"packed_sequences"}))])
    assert packed.predicted_s[0] < 0.95 * tuned


def test_a_fit_does_not_see_rows_of_adapters(catalog: Catalog) -> None:
    rows = [made(f"{n}", 2.0 + n / 10, framework="nemo", gbs=64 * n) for n in (1, 2, 3)]
    slow = made("slow", 1e4, framework="nemo", task="lora")
    tables = [run_table(catalog, some)[0] for some in (rows, [*rows, slow])]
    assert tables[0] is not None
    assert tables[1] is not None
    first, second = (fit(catalog, table) for table in tables)
    assert all(np.array_equal(first.parts[place], second.parts[place]) for place in first.parts)


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

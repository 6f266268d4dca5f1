"""``plan``, ``estimate`` and ``mfu``: the documented JSON, exit codes, and a clear sentence for whatever is wrong."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from catalogs.catalog import Catalog
from optimizer.cli import layers
from optimizer.cli.layers import open_catalog
from tests.cli.conftest import Cli

COMMAND = [sys.executable, "-c", "import sys; from optimizer.cli import main; sys.exit(main())"]

SMALL = ("plan", "-m", "llama-3-8b", "-t", "100B", "-H", "a100-sxm-80g", "--max-accelerators", "32")
"""A plan that is found quickly."""

BEST = "hardware offer accelerators servers days cost_usd mfu hfu step_s tokens_per_s_per_accel layout memory time cost"
LAYOUT = "tp pp vpp dp cp ep zero micro_batch global_batch recompute sequence_parallel offload"

CONFIG = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_size": 2048,
    "intermediate_size": 5632,
    "num_attention_heads": 32,
    "num_key_value_heads": 4,
    "num_hidden_layers": 22,
    "vocab_size": 32000,
    "max_position_embeddings": 2048,
    "tie_word_embeddings": False,
    "hidden_act": "silu",
    "rms_norm_eps": 1e-5,
}


@pytest.fixture(scope="module")
def shipped() -> Catalog:
    return Catalog()


@pytest.fixture(autouse=True)
def read_once(monkeypatch: pytest.MonkeyPatch, shipped: Catalog) -> None:
    """The shipped catalog is read once for all commands of this file; directories of a test's own are read as ever."""
    monkeypatch.setattr(layers, "open_catalog", lambda given=None: open_catalog(given) if given else shipped)


def refused(cli: Cli, code: int, *arguments: str) -> str:
    """The one-line message of a command that must fail with ``code`` and print nothing else."""
    done = cli(*arguments)
    assert done.code == code, done.err
    assert done.out == ""
    assert done.err.startswith("error: ")
    assert "Traceback" not in done.err
    message, _, hint = done.err.removeprefix("error: ").rstrip("\n").partition("\n")
    assert hint == "" or hint.startswith(("try ", "the nearest plans", "no plan relaxes"))
    return message


# --- documents ----------------------------------------------------------------------------------------------------


def assert_configuration(one: dict[str, Any]) -> None:
    assert set(BEST.split()) <= set(one)
    assert set(LAYOUT.split()) <= set(one["layout"])
    assert {"total_bytes", "capacity_bytes"} <= set(one["memory"])
    parts = [v for k, v in one["memory"].items() if k not in ("total_bytes", "capacity_bytes", "peak_stage")]
    assert sum(parts) == pytest.approx(one["memory"]["total_bytes"], rel=1e-12)
    assert sum(one["time"].values()) == pytest.approx(one["step_s"], rel=1e-12)
    assert sum(one["cost"].values()) == pytest.approx(one["cost_usd"], rel=1e-12)
    assert isinstance(one["accelerators"], int)
    assert isinstance(one["servers"], int)


def test_the_json_of_a_plan_has_every_documented_name(cli: Cli) -> None:
    done = cli(*SMALL, "-d", "90d", "--top", "2", "--json")
    assert (done.code, done.err) == (0, "")
    plan = json.loads(done.out)
    names = ("schema_version", "job", "best", "alternatives", "rejected", "certificate", "assumptions", "failure_rate")
    assert tuple(plan) == names
    assert plan["schema_version"] == "1"
    for one in (plan["best"], *plan["alternatives"]):
        assert_configuration(one)
        assert one["fits"] is True
        assert one["days"] <= 90
    assert len(plan["alternatives"]) == 2
    assert all(set(one) == {"what", "reason"} for one in plan["rejected"])
    proof = plan["certificate"]
    assert {"space", "evaluated", "pruned", "gap"} <= set(proof)
    assert proof["space"] == proof["evaluated"] + sum(proof["pruned"].values())
    assert all(isinstance(text, str) and text for text in plan["assumptions"])


def test_the_json_of_an_estimate_has_the_shape_of_the_best(cli: Cli) -> None:
    arguments = (
        "-m",
        "llama-2-70b",
        "-H",
        "a100-sxm-80g",
        "--tp",
        "8",
        "--pp",
        "4",
        "--dp",
        "4",
        "--global-batch",
        "64",
    )
    done = cli("estimate", *arguments, "--json")
    assert (done.code, done.err) == (0, "")
    one = json.loads(done.out)
    assert_configuration(one)
    assert one["schema_version"] == "1"
    assert one["fits"] is True
    assert one["accelerators"] == 128


def test_an_estimate_that_does_not_fit_says_so(cli: Cli) -> None:
    done = cli("estimate", "-m", "llama-2-70b", "-H", "a100-sxm-80g")
    assert done.code == 0
    assert "does not fit" in done.out
    assert json.loads(cli("estimate", "-m", "llama-2-70b", "-H", "a100-sxm-80g", "--json").out)["fits"] is False


def test_the_json_of_mfu(cli: Cli) -> None:
    done = cli("mfu", "-m", "llama-2-70b", "-H", "a800-sxm-80g", "--tokens-per-s-per-accel", "330", "--json")
    found = json.loads(done.out)
    assert (done.code, found["schema_version"]) == (0, "1")
    assert found["mfu"] == pytest.approx(330 * found["model_flops_per_token"] / found["peak_flops_per_s"], rel=1e-12)
    whole = ("--tokens-per-s", "2.64k", "--accelerators", "8")
    assert json.loads(cli("mfu", "-m", "llama-2-70b", "-H", "a800-sxm-80g", *whole, "--json").out) == found


def test_mfu_uses_fp16_where_there_is_no_bf16(cli: Cli) -> None:
    done = cli("mfu", "-m", "llama-2-7b", "-H", "v100-sxm-32g", "--tokens-per-s-per-accel", "1k", "--json")
    assert json.loads(done.out)["peak_flops_per_s"] == 125e12


def test_mfu_above_the_peak_is_called_impossible(cli: Cli) -> None:
    assert "impossible" in cli("mfu", "-m", "llama-2-7b", "-H", "a100-sxm-80g", "--tokens-per-s-per-accel", "1M").out


def test_tables_name_the_answer_its_parts_and_the_proof(cli: Cli) -> None:
    done = cli(*SMALL, "-d", "90d", "--why")
    assert (done.code, done.err) == (0, "")
    for text in (
        "a100-sxm-80g",
        "memory",
        "time of a step",
        "cost",
        "runners-up",
        "Why not",
        "Searched",
        "Assumptions",
    ):
        assert text in done.out
    assert "whole-servers" in done.out
    assert "\x1b[" not in done.out


def test_a_plan_that_may_be_late_says_what_to_ask_for(cli: Cli) -> None:
    hint = "be late: --confidence 90% finds the cheapest that fits and meets the date"
    days = json.loads(cli(*SMALL, "-d", "90d", "--json").out)["best"]["days"]
    tight = ("-d", f"{1.02 * days:.3f}d")
    assert json.loads(cli(*SMALL, *tight, "--json").out)["best"]["p_deadline"] < 0.9
    assert hint in " ".join(cli(*SMALL, *tight).out.split())
    assert hint not in " ".join(cli(*SMALL).out.split())
    assert "may well" not in cli(*SMALL, *tight, "--confidence", "90%").out


def test_no_deadline_is_said(cli: Cli) -> None:
    assert any("no deadline" in text for text in json.loads(cli(*SMALL, "--json").out)["assumptions"])


def test_defaults_are_said(cli: Cli) -> None:
    said = " ".join(json.loads(cli(*SMALL, "-d", "90d", "--json").out)["assumptions"])
    for text in ("sequence length", "global batch", "goodput", "price"):
        assert text in said


def test_a_bare_size_says_its_shape(cli: Cli) -> None:
    done = cli("plan", "-m", "3B", "-t", "20B", "-H", "a100-sxm-80g", "--max-accelerators", "16", "--json")
    plan = json.loads(done.out)
    assert any("layers" in text for text in plan["assumptions"])


# --- usage errors -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "parts"),
    [
        (("-m", "lama-2-70b"), ("unknown model 'lama-2-70b'", "llama-2-70b")),
        (("-H", "h100"), ("unknown accelerator 'h100'", "h100-sxm-80g")),
        (("-H", "a100-sxm-80g,b20"), ("unknown accelerator 'b20'", "b200")),
        (("-f", "megatron"), ("unknown framework 'megatron'", "megatron-lm")),
        (("--offers", "lambda"), ("unknown offer 'lambda'", "lambda-")),
        (("--optimizer", "adam"), ("unknown optimizer 'adam'", "adamw")),
        (("-p", "fp12"), ("unknown precision 'fp12'", "fp8")),
        (("-t", "2TB"), ("--tokens", "'TB'", "2TB")),
        (("-t", "many"), ("--tokens", "'many'")),
        (("-t", "nan"), ("--tokens", "nan")),
        (("-t", "inf"), ("--tokens", "inf")),
        (("-t", "0"), ("--tokens", "above zero")),
        (("-t", "-2T"), ("--tokens", "above zero")),
        (("-t", "1e300"), ("tokens", "at most")),
        (("-t", "10"), ("10 tokens are less than one step", "--global-batch")),
        (("-d", "90"), ("--deadline", "no unit", "d")),
        (("-d", "90days"), ("--deadline", "'days'")),
        (("-d", "0d"), ("--deadline", "above zero")),
        (("-d", "-1w"), ("--deadline", "above zero")),
        (("--seq", "4k"), ("--seq", "'k'", "Ki")),
        (("--seq", "0"), ("--seq", "above zero")),
        (("--seq", "4096.5"), ("--seq", "whole number")),
        (("--global-batch", "0"), ("--global-batch", "above zero")),
        (("--global-batch", "-8"), ("--global-batch", "above zero")),
        (("--global-batch", "1.5"), ("--global-batch", "whole number")),
        (("--global-batch", "1e300"), ("less than one step",)),
        (("--global-batch-tokens", "0"), ("--global-batch-tokens", "above zero")),
        (("--global-batch", "64", "--global-batch-tokens", "4M"), ("not both",)),
        (("-b", "0"), ("--budget", "above zero")),
        (("-b", "$-3M"), ("--budget",)),
        (("-b", "cheap"), ("--budget", "cheap")),
        (("-b", "3M XYZ"), ("unknown currency 'XYZ'",)),
        (("--max-accelerators", "0"), ("--max-accelerators", "above zero")),
        (("--max-accelerators", "1T"), ("max_accelerators", "at most")),
        (("--goodput", "0"), ("goodput", "between 0 and 1")),
        (("--goodput", "nan"), ("--goodput", "not a number")),
        (("--goodput", "90"), ("goodput", "between 0 and 1")),
        (("--front", "--within", "2%"), ("--front", "neither --within nor --prove")),
        (("--front", "--prove"), ("--front", "neither --within nor --prove")),
        (("--recovery", "prayer"), ("recovery", "automatic, manual, replica", "prayer")),
        (("--recovery", "manual", "--goodput", "0.9"), ("goodput", "manual", "one of them")),
        (("--top", "-1"), ("--top",)),
        (("-p", "fp8"), ("a100-sxm-80g", "no fp8 matmul peak", "bf16")),
        (("-f", "mindspeed-llm"), ("mindspeed-llm does not run on nvidia", "huawei")),
        (("-f", "llm-foundry-fsdp", "--optimizer", "muon"), ("llm-foundry-fsdp", "muon", "offers")),
        (("--offers", "purchase,lambda-4x-a100-pcie-40g-on-demand"), ("--offers mixes",)),
        (("--offers", "lambda-4x-a100-pcie-40g-on-demand"), ("none of the named offers",)),
        (("-m", "gpt3-13b", "--seq", "4096"), ("learned positions for 2048",)),
        (("-m", "5X"), ("unknown model '5X'", "config.json")),
        (("-m", "1B7"), ("unknown model",)),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) and value[0].startswith("-") else "",
)
def test_what_makes_no_sense_is_refused(cli: Cli, change: tuple[str, ...], parts: tuple[str, ...]) -> None:
    message = refused(cli, 2, *SMALL, *change)
    for part in parts:
        assert part in message
    assert len(message) < 600


@pytest.mark.parametrize("hardware", ["rtx-4090", "mtt-s4000"])
def test_hardware_that_nobody_offers(cli: Cli, hardware: str) -> None:
    message = refused(cli, 2, "plan", "-m", "llama-2-7b", "-t", "100B", "-H", hardware)
    assert message.startswith(f"{hardware}: no offer in the catalog; add one under offers/")


def test_a_missing_option_is_named(cli: Cli) -> None:
    assert "--tokens" in refused(cli, 2, "plan", "-m", "llama-3-8b")
    assert "--model" in refused(cli, 2, "plan", "-t", "1B")
    assert "--hardware" in refused(cli, 2, "estimate", "-m", "llama-3-8b")


def test_a_precision_only_some_hardware_has_leaves_the_rest_out(cli: Cli) -> None:
    done = cli(
        "plan", "-m", "llama-3-8b", "-t", "20B", "-d", "30d", "-p", "nvfp4", "--max-accelerators", "16", "--json"
    )
    plan = json.loads(done.out)
    assert plan["best"]["precision"] == "nvfp4"
    reasons = {one["what"]: one["reason"] for one in plan["rejected"]}
    assert "no fp4 matmul peak" in reasons["a100-sxm-80g"]


# --- no plan ------------------------------------------------------------------------------------------------------


def test_an_impossible_deadline_says_what_the_fastest_needs(cli: Cli) -> None:
    message = refused(cli, 4, *SMALL, "-d", "1h")
    assert message.startswith("no plan: the fastest feasible finishes in ")
    assert " days and needs $" in message
    assert "the deadline is 60 min" in message
    assert "--max-accelerators" in message


def test_a_budget_that_is_too_small_says_what_is_needed(cli: Cli) -> None:
    message = refused(cli, 4, *SMALL, "-d", "90d", "-b", "$10")
    assert message.startswith("no plan within $10")
    assert "costs $" in message
    least = json.loads(cli(*SMALL, "-d", "90d", "--json").out)["best"]["cost_usd"]
    assert " costs $100 more, $" in refused(cli, 4, *SMALL, "-d", "90d", "-b", f"${least - 100:.0f}")


def test_a_budget_and_a_deadline_that_are_both_too_small(cli: Cli) -> None:
    assert "no plan" in refused(cli, 4, *SMALL, "-d", "1h", "-b", "$10")


def test_too_few_accelerators_for_the_memory(cli: Cli) -> None:
    message = refused(cli, 4, *SMALL, "-m", "llama-3.1-405b", "--max-accelerators", "8")
    assert "no layout of llama-3.1-405b fits the memory of a100-sxm-80g with at most 8 accelerators" in message


def test_a_sequence_that_fits_nowhere(cli: Cli) -> None:
    assert "fits the memory" in refused(cli, 4, *SMALL, "-t", "1e15", "--seq", "1000000000", "--global-batch", "1")


# --- broken files -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "text", "parts"),
    [
        ("accelerators/own.yaml", "- name: x\n  vendor: [\n", ("own.yaml:", "not valid YAML")),
        ("accelerators/own.yaml", "- name: x\n  vendor: nvidia\n  memory_bytes: eighty\n", ("own.yaml:", "x")),
        ("models/own.yaml", "- name: mini\n  layers: -4\n", ("own.yaml:", "mini")),
        ("models/own.yaml", "just text\n", ("own.yaml",)),
        ("offers/own.yaml", "- name: o\n  price: 0\n", ("own.yaml:", "o")),
        ("offers/own.csv", "name,price\nx\n", ("own.csv",)),
        ("frameworks/own.yaml", "- name: f\n  vendors: [nvidia]\n  speed: 9\n", ("own.yaml:", "speed")),
        ("offers/own.yaml", "\t- name: o\n", ("own.yaml:1", "not valid YAML")),
    ],
)
def test_a_broken_catalog_is_named_with_its_line(
    cli: Cli, tmp_path: Path, name: str, text: str, parts: tuple[str, ...]
) -> None:
    path = tmp_path / name
    path.parent.mkdir()
    path.write_text(text, encoding="utf-8")
    message = refused(cli, 3, *SMALL, "--catalog", str(tmp_path))
    for part in parts:
        assert part in message


def test_a_catalog_that_does_not_exist(cli: Cli, tmp_path: Path) -> None:
    assert "nowhere" in refused(cli, 3, *SMALL, "--catalog", str(tmp_path / "nowhere"))


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("{not json", ("config.json",)),
        ("[]", ("config.json",)),
        ("", ("config.json",)),
        (json.dumps({k: v for k, v in CONFIG.items() if k != "hidden_size"}), ("config.json", "hidden_size")),
        (json.dumps({k: v for k, v in CONFIG.items() if k != "num_hidden_layers"}), ("num_hidden_layers",)),
        (json.dumps(CONFIG | {"hidden_size": "wide"}), ("config.json", "hidden_size")),
        (json.dumps(CONFIG | {"num_hidden_layers": -2}), ("config.json",)),
        (json.dumps(CONFIG | {"num_attention_heads": 0}), ("config.json",)),
        (json.dumps(CONFIG | {"vocab_size": None}), ("vocab_size",)),
        (json.dumps(CONFIG | {"num_hidden_layers": 2.5}), ("config.json", "num_hidden_layers")),
        (json.dumps(CONFIG | {"model_type": "unheard-of"}), ("config.json", "unheard-of")),
    ],
)
def test_a_broken_hf_config_is_named(cli: Cli, tmp_path: Path, text: str, parts: tuple[str, ...]) -> None:
    path = tmp_path / "config.json"
    path.write_text(text, encoding="utf-8")
    message = refused(cli, 3, *SMALL, "-m", str(path))
    for part in parts:
        assert part in message


def test_a_model_file_that_is_not_there(cli: Cli, tmp_path: Path) -> None:
    assert "no such file" in refused(cli, 3, *SMALL, "-m", str(tmp_path / "config.json"))
    assert "nothing.yaml" in refused(cli, 3, *SMALL, "-m", str(tmp_path / "nothing.yaml"))


def test_hf_configs_and_yaml_models_are_planned_for(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(CONFIG), encoding="utf-8")
    shape = {
        "layers": 22,
        "hidden": 2048,
        "heads": 32,
        "kv_heads": 4,
        "ffn": 5632,
        "vocab": 32000,
        "gated": True,
        "head_dim": 64,
        "tied": False,
    }
    (tmp_path / "mini.yaml").write_text(json.dumps(shape), encoding="utf-8")
    small = ("-t", "20B", "-H", "a100-sxm-80g", "--max-accelerators", "8", "--seq", "2048", "--json")
    for model in ("config.json", "mini.yaml"):
        done = cli("plan", "-m", str(tmp_path / model), *small)
        assert done.code == 0, done.err
        assert json.loads(done.out)["best"]["cost_usd"] > 0


# --- estimate -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (
            "-m llama-2-70b --tp 3",
            ("does not exist", "tp 3 must divide the 64 attention heads", "tensor-divides-heads"),
        ),
        ("-m llama-2-70b --tp 128", ("tensor-divides-heads",)),
        ("-m llama-2-70b --pp 81", ("stages-hold-layers",)),
        ("-m llama-2-70b --pp 200", ("stages-hold-layers",)),
        ("-m llama-2-70b --ep 2", ("the model has no experts", "expert-divides")),
        ("-m llama-2-70b --etp 2 --dp 2", ("expert-divides",)),
        ("-m mixtral-8x7b --ep 3 --dp 3", ("ep 3 must divide the 8 experts", "expert-divides")),
        ("-m mixtral-8x7b --ep 8 --dp 4", ("experts-within-ranks",)),
        ("-m llama-2-70b --vpp 2", ("--vpp 2 needs pipeline stages",)),
        ("-m llama-2-70b --vpp 2 --pp 4", ("interleaved-multiple",)),
        ("-m llama-2-70b --zero 3 --pp 4", ("zero-with-pipeline", "ZeRO 0 or 1, not 3 (framework-lacks)")),
        ("-m llama-2-70b --zero 3 --pp 4 -f deepspeed", ("zero-with-pipeline",)),
        ("-m llama-2-70b --recovery replica", ("replica-goes-on", "second data-parallel replica")),
        ("-m llama-2-70b --zero 4", ("--zero",)),
        ("-m llama-2-70b --dp 3 --global-batch 8", ("global batch of 8", "3 replicas")),
        ("-m llama-2-70b --micro-batch 16 --global-batch 8", ("global batch of 8",)),
        ("-m llama-2-70b --tp 0", ("--tp",)),
        ("-m llama-2-70b --dp 1.5", ("--dp",)),
        ("-m llama-2-70b --dp 2000000 --global-batch 2000000", ("accelerators", "most")),
        ("-m llama-2-70b --schedule interleaved", ("interleaved needs vpp",)),
        ("-m llama-2-70b --schedule spiral", ("'spiral' is none of",)),
        ("-m llama-2-70b --schedule zero_bubble", ("needs pipeline stages",)),
        ("-m llama-2-70b --schedule zero_bubble --pp 2", ("framework-lacks",)),
        ("-m llama-2-70b --recompute some", ("'some' is none of",)),
        ("-m llama-2-70b --recompute first-0", ("is none of",)),
        ("-m llama-2-70b --recompute first-41 --pp 2", ("at most 40 layers",)),
        ("-m llama-2-70b --recompute selective", ("selective-needs-scores",)),
        ("-m llama-2-70b --offload disk", ("'disk' is none of",)),
        ("-m llama-2-70b --sequence-parallel", ("needs --tp above 1",)),
        ("-m llama-2-70b --cp 3 --dp 3", ("6 must divide the sequence of 4096 tokens", "context-slices")),
        ("-m llama-2-70b -f llm-foundry-fsdp --tp 2", ("framework-lacks",)),
        ("-m llama-2-70b -f nothing", ("unknown framework 'nothing'",)),
        ("-m llama-2-70b -f megatron-lm,deepspeed", ("one framework",)),
        ("-m llama-2-70b -f maxtext,maxtext -p fp8", ("no fp8",)),
        ("-m llama-2-70b --offers nobody", ("unknown offer 'nobody'",)),
        ("-m llama-2-70b -H h100-sxm-80g", ("exactly one accelerator",)),
        ("-m llama-2-70b --optimizer sgd", ("unknown optimizer 'sgd'", "sgd-momentum")),
        ("-m gpt3-13b --seq 4096", ("learned positions",)),
    ],
)
def test_layouts_that_do_not_exist_are_refused(cli: Cli, arguments: str, parts: tuple[str, ...]) -> None:
    message = refused(cli, 2, "estimate", "-H", "a100-sxm-80g", *arguments.split())
    for part in parts:
        assert part in message


def test_an_estimate_needs_no_offer(cli: Cli) -> None:
    found = json.loads(cli("estimate", "-m", "llama-2-7b", "-H", "rtx-4090", "--dp", "8", "--json").out)
    assert (found["offer"], found["cost_usd"], found["cost"]) == (None, None, {})
    assert any("no cost" in text for text in found["assumptions"])


def test_cards_without_a_network_stay_in_one_server(cli: Cli) -> None:
    offer = "azure-nc24ads-a100-v4-eastus-on-demand"
    estimate = ("estimate", "-m", "llama-2-7b", "-H", "a100-pcie-80g", "--offers", offer)
    assert "no network between servers" in refused(cli, 2, *estimate, "--dp", "8")
    assert cli(*estimate).code == 0


# --- mfu ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        ((), ("--tokens-per-s", "--tokens-per-s-per-accel")),
        (("--tokens-per-s", "10", "--tokens-per-s-per-accel", "10"), ("give",)),
        (("--tokens-per-s", "10"), ("needs --accelerators",)),
        (("--tokens-per-s-per-accel", "10", "--accelerators", "8"), ("--accelerators goes with",)),
        (("--tokens-per-s-per-accel", "0"), ("above zero",)),
        (("--tokens-per-s-per-accel", "nan"), ("nan",)),
        (("--tokens-per-s-per-accel", "10", "-p", "fp8"), ("no fp8 peak",)),
        (("--tokens-per-s-per-accel", "10", "--recomputed-share", "1.5"), ("between 0 and 1",)),
        (("--tokens-per-s-per-accel", "10", "--recomputed-share", "nan"), ("between 0 and 1",)),
        (("--tokens-per-s-per-accel", "10", "-H", "h100-sxm-80g"), ("exactly one accelerator",)),
        (("--tokens-per-s", "10", "--accelerators", "0"), ("--accelerators",)),
    ],
)
def test_measurements_that_make_no_sense_are_refused(
    cli: Cli, arguments: tuple[str, ...], parts: tuple[str, ...]
) -> None:
    message = refused(cli, 2, "mfu", "-m", "llama-2-7b", "-H", "a100-sxm-80g", *arguments)
    for part in parts:
        assert part in message


# --- a process ----------------------------------------------------------------------------------------------------


def test_an_interrupted_search_prints_nothing(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("optimizer.site_search.SiteSearch.run", interrupt)
    done = cli(*SMALL, "--json")
    assert (done.code, done.out) == (130, "")
    assert "Traceback" not in done.err


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [*COMMAND, *arguments], capture_output=True, check=False, env=os.environ | environment, timeout=120
    )


def test_equal_questions_give_equal_bytes_in_every_process() -> None:
    first, second = (run(*SMALL, "-d", "90d", "--json", PYTHONHASHSEED=seed, PYTHONWARNINGS="error") for seed in "12")
    assert (first.returncode, first.stderr) == (0, b"")
    assert first.stdout == second.stdout
    assert math.isfinite(json.loads(first.stdout)["best"]["days"])


def test_a_process_prints_plain_text_and_no_warning() -> None:
    done = run(*SMALL, "-d", "90d", NO_COLOR="1", PYTHONWARNINGS="error", PYTHONUTF8="1")
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"\x1b[" not in done.stdout
    assert "×" in done.stdout.decode()


def test_a_process_without_a_plan() -> None:
    done = run(*SMALL, "-d", "1s", NO_COLOR="1")
    assert (done.returncode, done.stdout) == (4, b"")
    assert done.stderr.startswith(b"error: no plan: the fastest feasible finishes in ")
    assert done.stderr.splitlines()[1] == b"the nearest plans, each searched anew:"


def test_the_nearest_plans_of_an_impossible_request(cli: Cli) -> None:
    arguments = (*SMALL, "-d", "1d", "-b", "$100k")
    done = cli(*arguments, "--json")
    assert done.code == 4
    document = json.loads(done.out)
    assert list(document) == ["schema_version", "job", "best", "reason", "nearest"]
    assert document["best"] is None
    assert done.err.startswith(f"error: {document['reason']}")
    axes = [one["axis"] for one in document["nearest"]]
    assert {"deadline", "accelerators"} <= set(axes)
    for one in document["nearest"]:
        assert one["configuration"]["fits"]
        assert f"{one['axis']}: {one['change']}" in cli(*arguments).err

"""``clusterplan catalog``: lists, one record, checks, layers."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from catalogs import KINDS, Catalog
from catalogs.consistency import CHECKS, find_problems
from tests.cli.conftest import Cli

FABRIC = """\
- name: leaf
  title: Leaf [bold]one[/bold]
  kind: roce
  port_bytes_per_s: 400Gbps
  radix: 64
  latency_s: 3us
  training_grade: true
  date: "2025-01"
  estimated: [latency_s]
  sources: {"*": "vendor data sheet", latency_s: "a guess [1]"}
"""
SERVER = """\
- name: box
  accelerator: {accelerator}
  accelerators: 8
  fabric: {fabric}
  default: {default}
  date: "2025"
  sources: {{"*": x}}
"""
OFFER = """\
- name: deal
  provider: us
  accelerator: {accelerator}
  accelerators_per_server: 8
  tenure: on_demand
  price: 2.5
  currency: {currency}
  unit: accelerator_hour
  date: "2025"
  sources: {{"*": x}}
"""
PROFILE = """\
- name: {name}
  accelerator: {accelerator}
  framework: {framework}
  precision: {precision}
  inherited_from: {parent}
  rows: 0
  gemm_efficiency: 0.7
  attention_efficiency: 0.5
  memory_efficiency: 0.8
  scale_up_efficiency: 0.8
  scale_out_efficiency: 0.8
  data_overlap: 0.5
  tensor_overlap: 0.5
  layer_launch_s: 1ms
  jitter_per_doubling: 0.01
  log_sigma: 0.1
  date: "2025"
  sources: {{"*": x}}
"""

TRAINING = """\
- name: done
  model: {model}
  accelerator: {accelerator}
  framework: {framework}
  accelerators: 8
  tokens: 1e12
  seq: 4096
  precision: {precision}
  date: "2025"
  sources: {{"*": x}}
"""


@pytest.fixture
def layer(tmp_path: Path) -> Path:
    return add(tmp_path / "layer", "fabrics", FABRIC)


def add(layer: Path, kind: str, content: str) -> Path:
    (layer / kind).mkdir(parents=True, exist_ok=True)
    (layer / kind / "mine.yaml").write_text(content, encoding="utf-8")
    return layer


def accelerator() -> str:
    return next(name for name, found in Catalog().accelerators.items() if found.vendor == "nvidia")


def without_fp8() -> str:
    return next(name for name, found in Catalog().accelerators.items() if "fp8" not in found.peak_flops_per_s)


def profile(name: str = "mine", **changes: str) -> str:
    fields = {"accelerator": accelerator(), "framework": "ours", "precision": "bf16", "parent": "null"} | changes
    return PROFILE.format(name=name, **fields)


def training(**changes: str) -> str:
    fields = {"model": "llama-7b", "accelerator": accelerator(), "framework": "megatron-lm", "precision": "bf16"}
    return TRAINING.format(**(fields | changes))


def test_list_names_every_kind_with_its_count(cli: Cli) -> None:
    outcome = cli("catalog", "list")
    assert outcome.code == 0
    assert all(kind in outcome.out for kind in KINDS)


@pytest.mark.parametrize("kind", KINDS)
def test_list_of_a_kind_holds_every_record(cli: Cli, kind: str) -> None:
    names = sorted(Catalog().kind(kind))
    table, document = cli("catalog", "list", kind), cli("catalog", "list", kind, "--json")
    assert (table.code, document.code) == (0, 0)
    assert [record["name"] for record in json.loads(document.out)["records"]] == names
    assert all(name in table.out for name in names)


def test_show_has_units_sources_date_and_estimates(cli: Cli, layer: Path) -> None:
    outcome = cli("catalog", "show", "fabric", "leaf", "--catalog", str(layer))
    assert outcome.code == 0
    lines = {line.split()[0]: line for line in outcome.out.splitlines() if line.strip()}
    assert "50 GB/s" in lines["port_bytes_per_s"]
    assert "50,000,000,000" in lines["port_bytes_per_s"]
    assert "estimated" not in lines["port_bytes_per_s"]
    assert "3 us" in lines["latency_s"]
    assert "estimated" in lines["latency_s"]
    assert "[2] a guess [1]" in outcome.out
    assert "Leaf [bold]one[/bold]  (2025-01)" in outcome.out


def test_show_as_json_has_the_record_and_its_units(cli: Cli, layer: Path) -> None:
    document = json.loads(cli("catalog", "show", "fabrics", "leaf", "--catalog", str(layer), "--json").out)
    assert document["record"]["port_bytes_per_s"] == 50e9
    assert document["units"] == {"port_bytes_per_s": "B/s", "latency_s": "s"}


def test_json_is_the_same_bytes_every_time(cli: Cli) -> None:
    first, second = (cli("catalog", "list", "accelerators", "--json").out for _ in range(2))
    assert first == second
    assert first.endswith("}\n")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("list", "accelerator-s"), "unknown catalog kind 'accelerator-s'; did you mean accelerators"),
        (("show", "fabric", "laef"), "unknown fabric 'laef'"),
    ],
)
def test_unknown_names_are_usage_errors(cli: Cli, arguments: tuple[str, ...], expected: str) -> None:
    outcome = cli("catalog", *arguments)
    assert (outcome.code, outcome.out) == (2, "")
    assert expected in outcome.err


def test_layers_come_from_the_environment_and_the_command_line(
    cli: Cli, layer: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    over = add(tmp_path / "over", "fabrics", FABRIC.replace("radix: 64", "radix: 7"))
    empty = tmp_path / "empty"
    empty.mkdir()

    def radix(*arguments: str) -> int:
        return int(json.loads(cli("catalog", "show", "fabric", "leaf", "--json", *arguments).out)["record"]["radix"])

    monkeypatch.setenv("CLUSTERPLAN_CATALOG", os.pathsep.join([str(layer), "", str(empty)]))
    assert radix() == 64
    assert radix("--catalog", str(over)) == 7
    assert radix("-c", str(over), "-c", str(layer)) == 64
    monkeypatch.setenv("CLUSTERPLAN_CATALOG", os.pathsep.join([str(layer), str(over)]))
    assert radix() == 7


def test_check_of_a_sound_layer(cli: Cli, layer: Path) -> None:
    document = json.loads(cli("catalog", "check", str(layer), "--json").out)
    assert document["records"]["fabrics"] == len(Catalog().fabrics) + 1
    assert document["checks"] == len(CHECKS)
    assert [problem for problem in document["problems"] if "leaf" in problem] == []


def test_the_shipped_catalog_is_sound() -> None:
    assert find_problems(Catalog()) == []


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        (
            {"servers": SERVER.format(accelerator="abacus", fabric="null", default="false")},
            "server box: unknown accelerator 'abacus'",
        ),
        (
            {"servers": SERVER.format(accelerator=accelerator(), fabric="strings", default="false")},
            "server box: unknown fabric 'strings'",
        ),
        (
            {
                "servers": SERVER.format(accelerator=accelerator(), fabric="null", default="true")
                + SERVER.replace("box", "crate").format(accelerator=accelerator(), fabric="null", default="true")
            },
            "box, crate",
        ),
        ({"offers": OFFER.format(accelerator="abacus", currency="USD")}, "offer deal: unknown accelerator 'abacus'"),
        (
            {"offers": OFFER.format(accelerator=accelerator(), currency="XXX")},
            "offer deal: unknown currency 'XXX'",
        ),
        ({"profiles": profile(accelerator="abacus")}, "profile mine: unknown accelerator 'abacus'"),
        ({"profiles": profile()}, "profile mine: unknown framework 'ours'"),
        ({"profiles": profile(accelerator=without_fp8(), precision="fp8")}, "has no fp8 peak"),
        ({"profiles": profile(parent="nobody")}, "profile mine: unknown inherited_from 'nobody'"),
        ({"profiles": profile(parent="mine")}, "profile mine: inherits from itself (mine -> mine)"),
        (
            {"profiles": profile("a", parent="b") + profile("b", parent="a")},
            "profile a: inherits from itself (a -> b -> a)",
        ),
        ({"profiles": profile("a") + profile("b")}, "profiles a and b are both for"),
        ({"trainings": training(model="abacus")}, "training done: unknown model 'abacus'"),
        ({"trainings": training(accelerator="abacus")}, "training done: unknown accelerator 'abacus'"),
        ({"trainings": training(framework="abacus")}, "training done: unknown framework 'abacus'"),
        ({"trainings": training(accelerator=without_fp8(), precision="fp8")}, "has no fp8 peak; correct its precision"),
    ],
)
def test_check_finds_what_leads_nowhere(cli: Cli, tmp_path: Path, files: dict[str, str], expected: str) -> None:
    for kind, content in files.items():
        add(tmp_path / "layer", kind, content)
    outcome = cli("catalog", "check", str(tmp_path / "layer"))
    assert outcome.code == 3
    assert expected in outcome.out


def test_check_reports_every_broken_kind_and_still_checks_the_others(cli: Cli, layer: Path) -> None:
    add(layer, "offers", "- name: [")
    add(layer, "models", "just words")
    add(layer, "servers", SERVER.format(accelerator="abacus", fabric="null", default="false"))
    outcome = cli("catalog", "check", str(layer), "--json")
    document = json.loads(outcome.out)
    assert outcome.code == 3
    assert [document["records"][kind] for kind in ("offers", "models")] == [None, None]
    assert sum("mine.yaml:" in problem for problem in document["problems"]) == 2
    assert any("abacus" in problem for problem in document["problems"])


def test_check_of_a_missing_directory(cli: Cli, tmp_path: Path) -> None:
    outcome = cli("catalog", "check", str(tmp_path / "none"))
    assert outcome.code == 3
    assert "no such catalog directory" in outcome.err

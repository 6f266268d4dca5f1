"""``clusterplan envelope``: figures, tables, and what it refuses."""

from __future__ import annotations

import json

import pytest

from tests.cli.conftest import Cli

DAYS = ("days", "--params", "70B", "-t", "15T", "-a", "1024", "--mfu", "50%", "--peak")


def test_days_as_json(cli: Cli) -> None:
    outcome = cli("envelope", *DAYS, "989.5TFLOP/s", "--json")
    document = json.loads(outcome.out)
    assert (outcome.code, outcome.err) == (0, "")
    assert list(document) == ["schema_version", "formula", "inputs", "results"]
    assert document["inputs"]["tokens"] == 15e12
    assert document["results"]["days"] == pytest.approx(143.927, abs=1e-3)


def test_a_table_names_formula_inputs_and_results(cli: Cli) -> None:
    outcome = cli("envelope", *DAYS, "h100-sxm-80g")
    assert outcome.out.startswith("days = 6 · params · tokens")
    assert "989 TFLOP/s" in outcome.out
    assert "143.999" in next(line for line in outcome.out.splitlines() if line.strip().startswith("days  "))


def test_memory_of_an_accelerator_by_name_is_its_capacity(cli: Cli) -> None:
    outcome = cli("envelope", "model", "-a", "8", "--memory", "a800-sxm-80g", "--recipe", "fp32", "--json")
    assert json.loads(outcome.out)["results"]["params"] == 8 * 80 * 2**30 / 16


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((*DAYS, "312"), "has no unit"),
        ((*DAYS, "-312TFLOP/s"), "must be above zero"),
        ((*DAYS, "h100-sxm"), "unknown accelerator 'h100-sxm'"),
        ((*DAYS, "v100-sxm-32g"), "no bf16 peak"),
        ((*DAYS[:-2], "150%", "--peak", "312TFLOP/s"), "is above 1"),
        (("model", "-a", "8", "--memory", "80GB", "--recipe", "fp23"), "unknown recipe 'fp23'; did you mean fp32"),
        (("model", "-a", "8", "--memory", "80W"), "makes no sense here"),
        (("memory", "--params", "0"), "must be above zero"),
        (("memory", "--params", "70B", "--zero", "4"), "zero"),
        (("memory", "--params", "70B", "--lora-params", "33M", "--zero", "2"), "knows no ZeRO"),
    ],
)
def test_bad_input_is_a_usage_error(cli: Cli, arguments: tuple[str, ...], message: str) -> None:
    outcome = cli("envelope", *arguments)
    assert (outcome.code, outcome.out) == (2, "")
    assert message in outcome.err
    assert "Traceback" not in outcome.err

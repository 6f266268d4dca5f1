"""``footprint``: checkpoints, data and energy agree with arithmetic by hand."""

from __future__ import annotations

import json

import pytest

from tests.cli.conftest import Cli

RUN = ("footprint", "-m", "llama-3-8b", "-t", "1T", "-H", "h100-sxm-80g", "-a", "16", "--goodput", "0.9")


def test_footprint(cli: Cli) -> None:
    done = cli(*RUN, "--server-write", "1GB/s", "--json")
    assert done.code == 0, done.err
    found = json.loads(done.out)
    one = found["configuration"]
    # bf16 weights, fp32 master copy and two fp32 moments.
    assert found["checkpoint_bytes"] == 14 * 8_030_261_248
    assert found["checkpoint_s"] == pytest.approx(14 * 8_030_261_248 / (one["servers"] * 1e9))
    assert found["dataset_bytes"] == 4e12
    rate = one["tokens_per_s_per_accel"] * one["accelerators"]
    assert found["tokens_per_day"] == pytest.approx(rate * 86400 * 0.9)
    assert found["loading_bytes_per_s"] == pytest.approx(4 * rate)
    assert found["energy_kwh"] == pytest.approx(found["joules_per_token"] * 1e12 / 3.6e6)
    assert 1e12 / found["tokens_per_day"] == pytest.approx(one["days"], rel=1e-3)


def test_table_help_and_refusals(cli: Cli) -> None:
    assert "energy per token" in cli(*RUN).out
    assert "clusterplan footprint " in cli("footprint", "--help").out
    assert cli(*RUN, "--store-write", "5").code == 2

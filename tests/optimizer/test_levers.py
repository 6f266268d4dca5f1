"""Levers are re-planned: losing a feature never helps, and what helps together is at least as good as alone."""

from __future__ import annotations

import json

import pytest

from catalogs.catalog import Catalog
from optimizer.levers import LEVERS, levers
from optimizer.request import read_job
from tests.cli.conftest import Cli
from tests.cli.conftest import cli as cli

CATALOG = Catalog()


@pytest.mark.parametrize("model", ["llama-3-8b", "llama-2-13b"])
def test_levers(model: str) -> None:
    job = read_job(CATALOG, model, 1e11, hardware=["h100-sxm-80g"], max_accelerators=32, global_batch=256)
    found = levers(job, CATALOG)
    days = {one.name: one.days for one in found.single}
    assert set(days) | set(found.refused) == set(LEVERS)
    for name in ("no overlap of communication", "no interleaving", "full recomputation", "no offload"):
        assert days[name] >= 1 - 1e-12
    assert days["fp8"] < 0.9
    assert 0.4 < days["twice the servers"] < 0.7
    assert days["twice the network between servers"] <= 1
    assert found.combined is not None
    assert found.combined.days <= min(days.values())
    assert all(one.configuration.fits for one in found.single)


def test_levers_are_replanned() -> None:
    job = read_job(CATALOG, "llama-2-70b", 1e11, hardware=["h100-sxm-80g"], max_accelerators=32)
    found = levers(job, CATALOG)
    layouts = {one.name: one.configuration.layout for one in found.single}
    assert layouts["full recomputation"].recompute == "full"
    assert layouts["no interleaving"].vpp == 1
    assert layouts["twice the servers"].accelerators == 64


def test_command(cli: Cli) -> None:
    arguments = ("levers", "-m", "llama-3-8b", "-t", "100B", "-H", "a100-sxm-80g", "-a", "16")
    done = cli(*arguments, "--json")
    assert done.code == 0, done.err
    document = json.loads(done.out)
    assert "fp8" in document["refused"]
    assert "as it is" in cli(*arguments).out
    assert "clusterplan levers " in cli("levers", "--help").out
    assert cli("levers", "-m", "llama-2-70b", "-t", "1T", "-H", "a100-sxm-40g", "-a", "1").code == 4

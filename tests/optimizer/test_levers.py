"""Levers are re-planned: losing a feature never helps, and what helps together is at least as good as alone."""

from __future__ import annotations

import json

import pytest

from catalogs.catalog import Catalog
from catalogs.model import Moe
from costmodels.architecture import Architecture
from costmodels.parameters import active_params, total_params
from optimizer.levers import LEVERS, equal_mixture, levers
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
    assert days["twice the micro-batch"] >= 1 - 1e-12
    assert days["mixture of experts of equal quality"] < 1
    # Korthikanti et al.: dropping the scores alone is cheaper than recomputing everything, and no better than flash.
    selective, full = (days[f"no flash attention but {kind} recomputation"] for kind in ("selective", "full"))
    assert 1 <= selective < full
    assert set(found.notes) == {"mixture of experts of equal quality", "twice the global batch"}


def test_levers_are_replanned() -> None:
    job = read_job(CATALOG, "llama-2-70b", 1e11, hardware=["h100-sxm-80g"], max_accelerators=32)
    found = levers(job, CATALOG)
    layouts = {one.name: one.configuration.layout for one in found.single}
    assert layouts["full recomputation"].recompute == "full"
    assert layouts["no interleaving"].vpp == 1
    assert layouts["twice the servers"].accelerators == 64


def test_the_mixture_is_the_narrowest_that_is_good_enough() -> None:
    dense = CATALOG.models["llama-2-70b"]
    mixture = equal_mixture(dense)
    assert mixture is not None
    assert mixture.moe is not None

    def quality(width: int) -> float:
        """By the stated rule, counted by hand: eight experts of three matrices, two of them for a token."""
        expert = 3 * dense.hidden * width
        rest = float(total_params(Architecture.of(dense))) - dense.layers * 3 * dense.hidden * dense.ffn
        router = dense.layers * dense.hidden * 8
        total, active = (rest + router + dense.layers * n * expert for n in (8, 2))
        return (total * active) ** 0.5

    wanted = float(total_params(Architecture.of(dense)))
    assert quality(mixture.moe.ffn) >= wanted > quality(mixture.moe.ffn - 128)
    a = Architecture.of(mixture)
    assert (float(total_params(a)) * float(active_params(a))) ** 0.5 == pytest.approx(
        quality(mixture.moe.ffn), rel=1e-9
    )
    assert equal_mixture(dense.model_copy(update={"moe": Moe(experts=8, topk=2, ffn=1024)})) is None


@pytest.mark.parametrize(
    ("code", "arguments", "words"),
    [
        (2, ("-t", "1T", "-H", "h100-sxm-80g,b200", "-a", "16"), "exactly one"),
        (2, ("-t", "1T", "-H", "h100-sxm-80g", "-a", "none"), "--accelerators"),
        (2, ("-t", "1T", "-H", "h200x", "-a", "16"), "h200x"),
        (2, ("-t", "nothing", "-H", "h100-sxm-80g", "-a", "16"), "--tokens"),
        (2, ("-H", "h100-sxm-80g", "-a", "16"), "--tokens"),
        (4, ("-t", "1T", "-H", "a100-sxm-40g", "-a", "1"), "clusterplan size"),
    ],
)
@pytest.mark.parametrize("command", ["levers", "footprint"])
def test_refusals(cli: Cli, command: str, code: int, arguments: tuple[str, ...], words: str) -> None:
    done = cli(command, "-m", "llama-2-70b", *arguments)
    assert done.code == code, done.err
    assert done.out == ""
    assert words in done.err


def test_command(cli: Cli) -> None:
    arguments = ("levers", "-m", "llama-3-8b", "-t", "100B", "-H", "a100-sxm-80g", "-a", "16")
    done = cli(*arguments, "--json")
    assert done.code == 0, done.err
    document = json.loads(done.out)
    assert "fp8" in document["refused"]
    assert "as it is" in cli(*arguments).out
    assert "clusterplan levers " in cli("levers", "--help").out
    assert cli("levers", "-m", "llama-2-70b", "-t", "1T", "-H", "a100-sxm-40g", "-a", "1").code == 4

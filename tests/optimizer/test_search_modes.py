"""Near-optimal sets, fronts, proofs and interrupts."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from catalogs import Catalog
from catalogs.errors import RefutedError
from costmodels.layers import layers_of
from optimizer.cli import INTERRUPTED, main
from optimizer.job import Job
from optimizer.market import sites
from optimizer.planning import pareto, plan
from optimizer.request import read_job
from optimizer.search import _survey
from optimizer.site_search import SiteSearch
from optimizer.tuning import FineTuning

CATALOG = Catalog()


def small_job(**changes: object) -> Job:
    job = read_job(
        CATALOG,
        "llama-3.2-1b",
        5e9,
        deadline_s=20 * 86400.0,
        hardware=["a800-sxm-80g"],
        max_accelerators=64,
        seq=4096,
        global_batch=64,
    )
    return replace(job, **changes)  # type: ignore[arg-type]


def test_every_plan_within_a_share_of_the_best_is_kept() -> None:
    tight = plan(small_job(), CATALOG, within=0.01)
    wide = plan(small_job(), CATALOG, within=0.5)
    best = tight.best.cost_usd or 0.0
    assert wide.best.to_json() == tight.best.to_json()
    assert all((one.cost_usd or 0.0) <= 1.5 * best for one in wide.alternatives)
    kept = {(one.offer, one.layout.tp, one.layout.pp, one.layout.cp) for one in wide.alternatives}
    assert len(kept) == len(wide.alternatives) > len(tight.alternatives)
    # A fixed number of alternatives finds the same ones, best first.
    few = plan(small_job(), CATALOG, top=2)
    assert [one.cost_usd for one in few.alternatives] == [one.cost_usd for one in wide.alternatives[:2]]


def test_the_front_is_what_constrained_plans_find() -> None:
    front, certificate = pareto(small_job(), CATALOG)
    assert len(front) >= 2
    assert certificate.space == certificate.evaluated + sum(certificate.pruned.values())
    assert front[0].cost_usd == plan(small_job(), CATALOG).best.cost_usd
    figures = [(one.cost_usd or 0.0, one.days, one.accelerators) for one in front]
    for one in figures:
        assert not any(all(a <= b for a, b in zip(other, one, strict=True)) and other != one for other in figures)
    for one in front[:: max(len(front) // 4, 1)]:
        limits = small_job(deadline_s=one.days * 86400.0 * (1 + 1e-12), max_accelerators=one.accelerators)
        assert plan(limits, CATALOG).best.cost_usd == pytest.approx(one.cost_usd, rel=1e-12)


def test_a_proof_evaluates_the_rows_that_bounds_left_out() -> None:
    proved = plan(small_job(), CATALOG, prove=True).certificate
    assert proved.proved_rows is not None
    assert proved.proved_rows >= proved.evaluated
    assert plan(small_job(), CATALOG).certificate.proved_rows is None


def test_a_wrong_bound_is_refuted(monkeypatch: pytest.MonkeyPatch) -> None:
    honest = SiteSearch._evaluate
    seen = []

    def forgetful(self: SiteSearch, *arguments: object) -> None:
        seen.append(self)
        if self.prune_by_bound and len(seen) == 1:
            return
        honest(self, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(SiteSearch, "_evaluate", forgetful)
    with pytest.raises(RefutedError, match="better plan"):
        plan(small_job(), CATALOG, prove=True)


def test_an_interrupt_gives_the_best_so_far_with_its_gap(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    run = SiteSearch.run
    calls = []

    def interrupted(self: SiteSearch, *arguments: object) -> None:
        calls.append(self)
        if len(calls) > 1:
            raise KeyboardInterrupt
        run(self, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(SiteSearch, "run", interrupted)
    question = "plan -m llama-3.2-1b -t 5B -d 20d --max-accelerators 64 --global-batch 64 -H ascend-910b,a800-sxm-80g"
    assert main([*question.split(), "--json"]) == INTERRUPTED
    answer = json.loads(capfd.readouterr().out)
    certificate = answer["certificate"]
    assert certificate["interrupted"]
    assert certificate["pruned"]["interrupt"] > 0
    assert certificate["space"] == certificate["evaluated"] + sum(certificate["pruned"].values())
    assert 0 <= certificate["gap"] < 1
    assert answer["best"]["fits"]


def test_an_interrupt_before_any_plan_prints_none(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def interrupted(self: SiteSearch, *arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(SiteSearch, "run", interrupted)
    assert (
        main(["plan", "-m", "llama-3.2-1b", "-t", "5B", "-H", "a800-sxm-80g", "--max-accelerators", "64"])
        == INTERRUPTED
    )
    assert capfd.readouterr().out == ""


def test_more_confidence_means_an_earlier_end_and_is_kept() -> None:
    tight = 1.02 * plan(small_job(), CATALOG).best.days * 86400.0
    plain = plan(small_job(deadline_s=tight), CATALOG)
    sure = plan(small_job(deadline_s=tight, confidence=0.9), CATALOG)
    assert plain.best.p_deadline is not None
    assert sure.best.p_deadline is not None
    assert plain.best.p_deadline < 0.9 <= sure.best.p_deadline
    assert (sure.best.cost_usd or 0.0) >= (plain.best.cost_usd or 0.0)
    assert all((one.p_deadline or 0.0) >= 0.9 for one in sure.alternatives)
    proved = plan(small_job(deadline_s=tight, confidence=0.9), CATALOG, prove=True)
    assert proved.best.to_json() == sure.best.to_json()


def test_the_front_is_printed_and_documented(capfd: pytest.CaptureFixture[str]) -> None:
    question = "plan -m llama-3.2-1b -t 5B -d 20d --max-accelerators 64 --global-batch 64 -H a800-sxm-80g --front"
    assert main([*question.split(), "--json"]) == 0
    answer = json.loads(capfd.readouterr().out)
    assert list(answer) == ["schema_version", "front", "certificate"]
    assert main(question.split()) == 0
    printed = capfd.readouterr().out
    assert all(f" {one['accelerators']} " in printed for one in answer["front"])


@pytest.mark.parametrize("tuning", [None, FineTuning("lora", example_tokens=512), FineTuning("qlora")])
def test_layers_of_many_sites_at_once_are_those_of_each(tuning: FineTuning | None) -> None:
    job = small_job(hardware=("a800-sxm-80g", "h100-sxm-80g", "h200-sxm"), tuning=tuning)
    queue, _ = _survey(job, sites(job, CATALOG)[0], CATALOG, "cost", prune=True)
    assert len(queue) > 2
    for one in queue:
        alone = layers_of(one.physics.setting(one.space.shards))
        for name in ("forward", "backward"):
            np.testing.assert_allclose(getattr(one.layers.dense, name), getattr(alone.dense, name), rtol=1e-12)
        for name in ("dense_bytes", "transient_bytes"):
            np.testing.assert_allclose(getattr(one.layers, name), getattr(alone, name), rtol=1e-12)

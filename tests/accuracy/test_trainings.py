"""Published trainings, predicted in the fastest layout and in the published one, and the page about them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from catalogs.catalog import Catalog
from catalogs.inheritance import resolve_profile
from catalogs.training import PublishedLayout, Training
from costmodels.efficiency import Efficiency
from optimizer.accuracy.trainings import Prediction, PublishedRun, in_layout, published_runs
from optimizer.accuracy.trainings_page import trainings_section
from optimizer.configuration import Configuration
from optimizer.measured.reading import run_table

LAID_OUT = [one.name for one in Catalog().trainings.values() if one.layout is not None]


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return Catalog()


def laid_out(catalog: Catalog, name: str, **changes: object) -> Configuration:
    """The figures of a training in its published layout, or in one that differs from it."""
    one = catalog.trainings[name]
    assert one.layout is not None
    found = in_layout(catalog, one, one.layout.model_copy(update=changes))
    assert found.configuration is not None, found.reason
    return found.configuration


@pytest.mark.slow
def test_published_trainings_are_near_their_hours(catalog: Catalog) -> None:
    """Half of the published accelerator-hours within three tenths, all within a factor of two and a half."""
    runs = published_runs(catalog)
    ratios = [one.fastest.hours / one.training.hours for one in runs if one.training.hours and one.fastest.hours]
    assert len(ratios) == len([one for one in runs if one.training.hours]) >= 16
    assert np.median(np.abs(np.array(ratios) - 1.0)) <= 0.3
    assert all(0.4 < ratio < 2.0 for ratio in ratios)


@pytest.mark.parametrize("name", LAID_OUT)
def test_published_layouts_are_predicted_as_they_were_published(catalog: Catalog, name: str) -> None:
    found, one = laid_out(catalog, name), catalog.trainings[name]
    assert one.layout is not None
    assert found.accelerators == one.accelerators
    assert {field: getattr(found.layout, field) for field in ("tp", "pp", "vpp", "dp", "zero", "micro_batch")} == {
        field: getattr(one.layout, field) for field in ("tp", "pp", "vpp", "dp", "zero", "micro_batch")
    }
    assert (found.layout.global_batch, found.layout.recompute) == (one.layout.global_batch, one.layout.recompute)
    assert one.hours
    assert 0.5 < found.days * 24.0 * found.accelerators / one.hours < 1.5


def test_a_published_layout_takes_as_long_as_the_measured_run_of_it(catalog: Catalog) -> None:
    """BLOOM stands among the measured runs too; both roads lead to the same seconds."""
    (run,) = (run for run in catalog.runs if run.id == "bloom-176b-final-n384")
    table, _ = run_table(catalog, [run])
    assert table is not None
    profile, _ = resolve_profile(catalog, catalog.accelerators[run.accelerator], run.framework, "bf16")
    (seconds,) = table.predict(Efficiency.of(profile))
    assert laid_out(catalog, "bloom-176b").step_s == pytest.approx(seconds, rel=0.01)


def test_software_and_network_of_then_are_used(catalog: Catalog) -> None:
    then = laid_out(catalog, "bloom-176b")
    switches = {"uneven_pipeline": True}
    assert laid_out(catalog, "bloom-176b", software=switches | {"flash_attention": True}).step_s < then.step_s
    assert laid_out(catalog, "bloom-176b", scale_out_bytes_per_s_per_accelerator=None).step_s < then.step_s
    assert not catalog.frameworks["megatron-deepspeed"].uneven_pipeline, "the catalog itself stays as it is"


def test_a_layout_that_the_framework_lacks_has_the_reason(catalog: Catalog) -> None:
    one = catalog.trainings["bloom-176b"]
    assert one.layout is not None
    found = in_layout(catalog, one, one.layout.model_copy(update={"software": {}}))
    assert found.configuration is None
    assert "stages-hold-layers" in found.reason
    assert "stages-hold-layers" in trainings_section([PublishedRun(one, found, None, 1.0)])


def test_hours_without_lost_time_are_predicted_without(catalog: Catalog) -> None:
    assert laid_out(catalog, "opt-175b").goodput == 1.0
    assert laid_out(catalog, "bloom-176b").goodput < 1.0


def test_the_page_compares_hours_days_and_speeds(catalog: Catalog) -> None:
    """A training of 100 hours and 10 seconds a step, predicted at half and at four fifths of both."""
    known = laid_out(catalog, "stablelm-3b-4e1t")
    layout = PublishedLayout(tp=1, pp=1, dp=4, zero=1, micro_batch=1, global_batch=8, recompute="none")
    one = Training(
        name="made-up",
        model="llama-7b",
        accelerator="a100-sxm-80g",
        framework="megatron-lm",
        accelerators=4,
        tokens=1e9,
        seq=2048,
        precision="bf16",
        hours=100.0,
        days=100.0 / 4 / 24,
        step_s=10.0,
        model_flops_per_s=100e12,
        layout=layout,
        estimated=("layout.micro_batch",),
        notes="no such training",
        sources={"*": "https://example.org"},
        date="2025",
    )

    def predicted(share: float) -> Prediction:
        figures = {"accelerators": 4, "days": share * 100.0 / 4 / 24, "step_s": share * 10.0, "mfu": 0.5, "fits": False}
        return Prediction(replace(known, **figures))  # type: ignore[arg-type]  # figures of several types

    page = trainings_section([PublishedRun(one, predicted(0.5), predicted(0.8), 400e12)])
    link = "| [made-up](https://example.org) |"
    assert f"{link} 4 × a100-sxm-80g | 0.001T | 100 | 50 | -50% | 80 | -20% |" in page
    assert f"{link} 1.0 | 0.5 | -50% | 0.8 | -20% |" in page
    assert "| 10.0 s a step | 8.0 | -20% |" in page
    assert "| 100 TFLOP/s of the model | 200 | -50% |" in page
    assert "the 1 trainings whose layout was published, the median error of the hours is 20% in it\nand 50% in" in page
    assert f"{link} ×2.00 | ×1.60 | ×1.25 | ×1.25 | {known.profile} |" in page
    assert "Predicted to need more memory than there is, though they ran: made-up." in page
    assert "- made-up: no such training. Assumed in the layout: micro-batch" in page

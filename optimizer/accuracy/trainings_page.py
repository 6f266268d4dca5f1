"""The published trainings as a section of the accuracy page: hours, days and speed, and what the comparison shows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from catalogs.training import Training
from optimizer.accuracy.markdown import markdown_table
from optimizer.accuracy.trainings import Prediction, PublishedRun
from optimizer.configuration import Configuration
from optimizer.layout import Layout

INTRO = """\
Accelerator-hours and days of whole trainings, predicted twice:

- *fastest found*: what the tool promises from the model, the tokens and the cluster alone: the fastest layout on at
  most the published accelerators, on the framework as its record has it (Megatron-DeepSpeed without fused attention).
  A training that was laid out less well took longer than this.
- *published layout*: with the degrees, the micro-batch, the batch, the recomputation, the attention and the network
  that were published, by the same formulas as `clusterplan estimate`. What remains is the error of the models, the
  average software release that they assume, and what a publication counts as hours.

Where the size of the cluster was not published, it is an assumption, marked ~. Predicted hours include modelled
goodput; where a publication counts tokens at the speed of training and no lost time, marked †, neither does the
prediction."""

SPEED_INTRO = """\
The speed while training progresses, where it was published, holds no lost time at all. Errors are those of time: a
minus is a prediction that is too fast. Layouts in italics are the fastest found: that of the training is not
published, or cannot be predicted."""

SPLIT_INTRO = """\
The published hours over those of the fastest layout found are the product of what the published layout, software and
network explain and of what remains: the error of the models, older releases and lost time that goodput does not
know. Where the speed was published, *while training* is what remains of that, without any lost time. The constants are
those of the prediction in the published layout."""

NOTES_INTRO = "What the publications count and leave open, and how their software differs from what is predicted:"


def trainings_section(runs: Sequence[PublishedRun]) -> str:
    """The text and the tables below the heading."""
    parts = [INTRO, _hours(runs), _days(runs), SPEED_INTRO, _speeds(runs), _findings(runs), NOTES_INTRO, _notes(runs)]
    return "\n\n".join(part for part in parts if part)


def _hours(runs: Sequence[PublishedRun]) -> str:
    head = ["run", "accelerators", "tokens", "hours published", "fastest found", "", "published layout", ""]
    rows = []
    for run in runs:
        one = run.training
        about = "~" if "accelerators" in one.estimated else ""
        start = [_link(one), f"{about}{one.accelerators:,} × {one.accelerator}", f"{one.tokens / 1e12:.3g}T"]
        told = "" if one.hours is None else f"{one.hours:,.0f}"
        rows.append(
            [*start, told, *_against(one.hours, run.fastest, "hours"), *_against(one.hours, run.published, "hours")]
        )
    return markdown_table(head, rows)


def _days(runs: Sequence[PublishedRun]) -> str:
    head = ["run", "days published", "fastest found", "", "published layout", ""]
    rows = [
        [
            _link(run.training),
            f"{run.training.days:,.1f}",
            *_against(run.training.days, run.fastest, "days"),
            *_against(run.training.days, run.published, "days"),
        ]
        for run in runs
        if run.training.days is not None
    ]
    return markdown_table(head, rows)


def _against(published: float | None, predicted: Prediction | None, what: str) -> list[str]:
    """A predicted figure and its error."""
    if predicted is None:
        return ["", ""]
    value: float | None = getattr(predicted, what)
    if value is None:
        return [predicted.reason, ""]
    return [f"{value:,.1f}" if what == "days" else f"{value:,.0f}", _change(published, value)]


def _change(published: float | None, predicted: float) -> str:
    return "" if published is None else f"{predicted / published - 1.0:+.0%}"


def _speeds(runs: Sequence[PublishedRun]) -> str:
    rows = []
    for run in runs:
        found = run.nearest.configuration
        if found is not None:
            layout = layout_words(found.layout)
            told = layout if run.published else f"*{layout}*"
            rows += [
                [_link(run.training), told, f"{speed.published} {speed.unit}", speed.predicted, f"{speed.error:+.0%}"]
                for speed in _speeds_of(run, found)
            ]
    return markdown_table(["run", "layout", "published", "predicted", "time"], rows)


@dataclass(frozen=True)
class _Speed:
    """A published speed, the predicted one, and the error of the time, positive where the prediction is too slow."""

    published: str
    predicted: str
    unit: str
    error: float


def _speeds_of(run: PublishedRun, found: Configuration) -> list[_Speed]:
    """Every speed that was published of a training, the most direct one first."""
    one, peak = run.training, run.peak_flops_per_s
    speeds = []
    if one.step_s is not None:
        speeds.append(_Speed(f"{one.step_s:.1f}", f"{found.step_s:.1f}", "s a step", found.step_s / one.step_s - 1.0))
    for published, predicted, scale, unit in (
        (one.tokens_per_s_per_accelerator, found.tokens_per_s_per_accel, 1.0, "tokens/s"),
        (one.model_flops_per_s, found.mfu * peak, 1e12, "TFLOP/s of the model"),
        (one.hardware_flops_per_s, found.hfu * peak, 1e12, "TFLOP/s of the hardware"),
    ):
        if published is not None:
            told, ours = f"{published / scale:.0f}", f"{predicted / scale:.0f}"
            speeds.append(_Speed(told, ours, unit, published / predicted - 1.0))
    return speeds


def _pace(run: PublishedRun) -> float | None:
    """Error of the time while training, from the most direct speed that was published."""
    found = run.nearest.configuration
    speeds = [] if found is None else _speeds_of(run, found)
    return speeds[0].error if speeds else None


def layout_words(layout: Layout) -> str:
    """The degrees above 1, the micro-batch and the recomputation.

    >>> degrees = dict(tp=4, pp=12, vpp=1, dp=8, cp=1, ep=1, etp=1, zero=1, zero_group=0)
    >>> batch = dict(micro_batch=2, micro_batches=128, global_batch=2048)
    >>> rest = dict(recompute="full", sequence_parallel=False, schedule="1f1b", offload="none")
    >>> layout_words(Layout(**degrees, **batch, **rest))
    'tp 4, pp 12, dp 8, micro-batch 2 of 2,048, full recomputation'
    """
    words = [f"{name} {getattr(layout, name)}" for name in ("tp", "pp", "vpp", "cp", "ep", "etp", "dp")]
    degrees = [word for word in words if not word.endswith(" 1")]
    batch = f"micro-batch {layout.micro_batch} of {layout.global_batch:,}"
    return ", ".join([*degrees, batch, *([] if layout.recompute == "none" else [f"{layout.recompute} recomputation"])])


def _findings(runs: Sequence[PublishedRun]) -> str:
    """What the two predictions say together."""
    both = [
        _Both(run, error, free, run.published.configuration)
        for run in runs
        if run.published is not None
        and run.published.configuration is not None
        and (error := _error(run.training, run.published)) is not None
        and (free := _error(run.training, run.fastest)) is not None
    ]
    if not both:
        return ""
    there, free = (median(abs(e) for e in errors) for errors in zip(*((b.error, b.free) for b in both), strict=True))
    goodput = [one.configuration.goodput for one in both]
    paces = [abs(pace) for run in runs if run.published is not None and (pace := _pace(run)) is not None]
    sentences = [
        f"Of the {len(both)} trainings whose layout was published, the median error of the hours is {there:.0%} in it",
        f"and {free:.0%} in the fastest found. The goodput in them is {min(goodput):.0%} to {max(goodput):.0%}.",
    ]
    if paces:
        sentences += [
            f"Of the {len(paces)} among them whose speed was published, the median error of the time while training is",
            f"{median(paces):.0%}.",
        ]
    return "\n".join([*sentences, "", SPLIT_INTRO, "", _split(both), *_too_large(runs)])


def _split(both: Sequence[_Both]) -> str:
    """Published hours over those of the fastest layout: what the published layout explains of them, and the rest."""
    rows = []
    for one in sorted(both, key=lambda each: each.error):
        rest, whole = 1.0 / (1.0 + one.error), 1.0 / (1.0 + one.free)
        pace = _pace(one.run)
        training = "" if pace is None else f"×{1.0 / (1.0 + pace):.2f}"
        ratios = [f"×{ratio:.2f}" for ratio in (whole, whole / rest, rest)]
        rows.append([_link(one.run.training), *ratios, training, one.configuration.profile])
    head = ["run", "published / fastest found", "layout, software, network", "remains", "while training", "constants"]
    return markdown_table(head, rows)


@dataclass(frozen=True)
class _Both:
    """A training with both predictions of its hours: their errors, and all figures of the published layout."""

    run: PublishedRun
    error: float
    free: float
    configuration: Configuration


def _error(one: Training, predicted: Prediction) -> float | None:
    if one.hours is None or predicted.hours is None:
        return None
    return predicted.hours / one.hours - 1.0


def _too_large(runs: Sequence[PublishedRun]) -> list[str]:
    """Published layouts that ran, and are predicted to need more memory than there is."""
    denied = [
        run.training.name
        for run in runs
        if run.published and run.published.configuration is not None and not run.published.configuration.fits
    ]
    return ["", f"Predicted to need more memory than there is, though they ran: {', '.join(denied)}."] if denied else []


def _notes(runs: Sequence[PublishedRun]) -> str:
    told = [(run.training.name, ". ".join(filter(None, (run.training.notes, _assumed(run.training))))) for run in runs]
    return "\n".join(f"- {name}: {text}" for name, text in told if text)


def _assumed(one: Training) -> str:
    """Which fields of the layout are assumptions."""
    names = [name.removeprefix("layout.") for name in one.estimated if name.startswith("layout.")]
    if not names:
        return ""
    told = ", ".join(name.removesuffix("_bytes_per_s_per_accelerator").replace("_", "-") for name in names)
    return f"Assumed in the layout: {told}"


def _link(one: Training) -> str:
    return f"[{one.name}]({one.sources['*']}){'†' if one.uninterrupted else ''}"

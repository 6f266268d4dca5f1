"""From a launch file to the job and the layout that it means."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from catalogs.catalog import Catalog
from catalogs.errors import DataFileError, UsageError
from catalogs.loading import read_text
from catalogs.model import Model, Moe
from optimizer.job import Job
from optimizer.launch_files.deepspeed import read_deepspeed
from optimizer.launch_files.launch import Launch
from optimizer.launch_files.megatron import read_megatron
from optimizer.launch_files.nemo import read_nemo
from optimizer.launch_files.torchtitan import read_torchtitan
from optimizer.layout import Layout
from optimizer.layout_request import layout_from_request
from optimizer.request import read_job

KINDS = {"megatron": read_megatron, "deepspeed": read_deepspeed, "torchtitan": read_torchtitan, "nemo": read_nemo}


def read_launch_file(path: Path, kind: str | None = None) -> Launch:
    """The launch file at a path; without a kind the suffix and the content decide.

    Raises:
        DataFileError: the file is unreadable.
        UsageError: it is no launch file of the kind, or an argument that matters makes no sense.
    """
    text = read_text(path)
    if kind is None:
        kind = _kind(path, text)
    if kind not in KINDS:
        raise UsageError(f"launch files are of the kinds {', '.join(KINDS)}, not {kind!r}")
    try:
        return KINDS[kind](text)
    except UsageError as error:
        raise DataFileError(f"{path}: {error}") from None


def _kind(path: Path, text: str) -> str:
    if path.suffix == ".json":
        return "deepspeed"
    if path.suffix == ".toml":
        return "torchtitan"
    return "megatron" if "--tensor-model-parallel-size" in text or "--num-layers" in text else "nemo"


UNSTATED_TOKENS = 1e12
"""Length of a run of which nobody says how long it is: days and cost then are those of a trillion tokens."""


def job_and_layout(
    launch: Launch,
    catalog: Catalog,
    *,
    hardware: str,
    model: str | None = None,
    accelerators: int | None = None,
    framework: str | None = None,
    tokens: float | None = None,
    **given: Any,
) -> tuple[Job, Layout]:
    """The job and the layout of a launch file, what the caller gives before what the file says.

    Args:
        launch: as read.
        catalog: where names are looked up.
        hardware: accelerator name; launch files do not say.
        model: name, file or size; needed unless the file describes the architecture.
        accelerators: in all; needed unless the file says.
        framework: instead of the usual one of the kind.
        tokens: to train on, for days and cost.
        given: settings (``seq``, ``micro_batch``, ``tp``…) that replace the file's.

    Raises:
        UsageError: something is missing or contradictory.
        UnknownNameError, UnsupportedError: as for any job.
    """
    launch = replace(launch, settings=launch.settings | {k: v for k, v in given.items() if v is not None})
    s = launch.settings
    dp = launch.replicas(accelerators)
    micro_batch = int(s.get("micro_batch") or s.get("local_batch") or 0)
    if not micro_batch:
        raise UsageError("the launch file does not give the micro-batch; give --micro-batch")
    local = int(s.get("local_batch", micro_batch * s.get("micro_batches", 1)))
    global_batch = int(s.get("global_batch", dp * local))
    named = model or launch.model_name
    record = None if named else architecture(launch, catalog)
    seq = s.get("seq") or (None if record is None else record.seq)
    if "steps" in s and seq:
        s.setdefault("tokens", float(s["steps"]) * global_batch * seq)
    job = read_job(
        catalog,
        named or "7B",
        tokens or s.get("tokens") or UNSTATED_TOKENS,
        hardware=[hardware],
        seq=seq,
        global_batch=global_batch,
        precision=s.get("precision"),
        frameworks=[framework or _framework(launch, catalog, hardware)],
        optimizer=s.get("optimizer") or "adamw",
    )
    if record is not None:
        job = replace(job, model=record, assumptions=job.assumptions[3:])
    # A launch file that does not switch an overlap on runs without it.
    job = replace(job, expert_overlap=bool(s.get("expert_overlap", True)))
    recompute = str(s.get("recompute", "none"))
    if "recompute_every" in s:
        recompute = f"first-{-(-job.model.layers // launch.degree('pp') // s['recompute_every'])}"
    layout = layout_from_request(
        job,
        catalog,
        tp=launch.degree("tp"),
        pp=launch.degree("pp"),
        vpp=launch.degree("vpp"),
        dp=dp,
        cp=launch.degree("cp"),
        ep=launch.degree("ep"),
        etp=launch.degree("etp"),
        zero=s.get("zero"),
        zero_group=s.get("zero_group"),
        micro_batch=micro_batch,
        recompute=recompute,
        offload=str(s.get("offload", "none")),
        schedule=s.get("schedule"),
        sequence_parallel=_sequence_parallel(launch),
    )
    return job, layout


def _framework(launch: Launch, catalog: Catalog, hardware: str) -> str:
    """The framework that reads such a file on this hardware: MindSpeed-LLM takes the arguments of Megatron-LM."""
    catalog.find("accelerators", hardware)
    vendor = catalog.accelerators[hardware].vendor
    return "mindspeed-llm" if (launch.framework, vendor) == ("megatron-lm", "huawei") else launch.framework


def _sequence_parallel(launch: Launch) -> bool | None:
    """Megatron-LM needs the flag; other frameworks switch it on with tensor parallelism."""
    stated = launch.settings.get("sequence_parallel")
    if launch.degree("tp") == 1:
        return None
    if stated is None and launch.kind in ("megatron", "nemo"):
        return False
    return None if stated is None else bool(stated)


def architecture(launch: Launch, catalog: Catalog) -> Model:
    """The architecture that the arguments describe.

    Raises:
        UsageError: a part of it is missing.
    """
    m = launch.model
    missing = [name for name in ("layers", "hidden", "heads") if name not in m]
    if missing:
        raise UsageError(f"the launch file does not describe the model ({', '.join(missing)} missing); give --model")
    gated = bool(m.get("gated"))
    ffn = m.get("ffn") or _default_ffn(m["hidden"], gated)
    if "vocab" not in m:
        launch.notes.append("vocabulary not in the file: 128256 rows")
    if "ffn" not in m:
        launch.notes.append(f"MLP width not in the file: {ffn}")
    moe = None
    if "experts" in m:
        moe = Moe(
            experts=m["experts"],
            topk=m.get("topk", 2),
            ffn=m.get("moe_ffn", ffn),
            shared_ffn=m.get("shared_ffn", 0),
        )
    rotary = m.get("rotary") or m.get("position") in ("rope", "none", "yarn")
    biases = not m.get("no_bias", False)
    return Model(
        name="launch-file",
        title="Model of the launch file",
        family="custom",
        layers=m["layers"],
        hidden=m["hidden"],
        heads=m["heads"],
        kv_heads=m.get("kv_heads", m["heads"]) if m.get("grouped", "kv_heads" in m) else m["heads"],
        head_dim=m.get("head_dim", m["hidden"] // m["heads"]),
        ffn=ffn,
        vocab=m.get("vocab", 128256),
        gated=gated,
        tied=not m.get("untied", False),
        learned_positions=0 if rotary else m.get("positions", 0),
        qkv_bias=biases or bool(m.get("qkv_bias")),
        o_bias=biases,
        mlp_bias=biases,
        norm="rms" if str(m.get("normalization", "LayerNorm")).lower().startswith("rms") else "layer",
        dropout=str(m.get("hidden_dropout", "0.1" if launch.kind == "megatron" else "0")) not in ("0", "0.0"),
        moe=moe,
        seq=launch.settings.get("seq"),
        sources={"*": "launch file"},
        date="2026",
    )


def _default_ffn(hidden: int, gated: bool) -> int:
    """Megatron-LM's default: 4h, or with SwiGLU two thirds of that, in multiples of 64."""
    return int(4 * hidden * 2 / 3 / 64) * 64 if gated else 4 * hidden

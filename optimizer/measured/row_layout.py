"""How a row splits its model and its batch over accelerators."""

from __future__ import annotations

from catalogs.framework import Framework
from catalogs.inheritance import framework_family
from catalogs.model import Model
from catalogs.runs import Run
from costmodels.layout import Pipe, Replicas, Shard
from optimizer.measured.row_recompute import offloaded_share, recomputed
from optimizer.measured.skipped import SkipError


def layout_of(run: Run, framework: Framework, model: Model) -> tuple[Shard, Pipe, Replicas]:
    """The layout of a row.

    Raises:
        SkipError: it is not stated, contradicts itself, or is not modelled.
    """
    missing = [name for name in ("n_accel", "seq", "gbs", "mbs", "tp", "pp") if getattr(run, name) is None]
    if missing:
        raise SkipError(f"{', '.join(missing)} is not stated")
    assert run.n_accel
    assert run.gbs
    assert run.mbs
    assert run.tp
    assert run.pp
    if run.vpp is None and run.pp > 1 and "interleaved" in run.features:
        raise SkipError("vpp of the interleaved schedule is not stated")
    vpp, cp, ep = run.vpp or 1, run.cp or 1, run.ep or 1
    dp = run.n_accel / (run.tp * run.pp * cp)
    if dp != int(dp) or (run.dp is not None and run.dp != dp):
        raise SkipError(f"tp·cp·pp·dp is not the number of accelerators ({run.n_accel})")
    if run.gbs < dp * run.mbs:
        raise SkipError(f"the global batch {run.gbs} is smaller than dp·mbs = {dp * run.mbs:.0f}")
    chunks = run.pp * vpp
    chunk = -(-model.layers // chunks)
    if (chunk * chunks - model.layers + 1) // 2 > chunk:
        raise SkipError(f"{model.layers} layers cannot be cut into {chunks} pipeline chunks")
    etp = 1
    if model.moe is not None:
        ep = min(ep, model.moe.experts)
        etp = run.etp or (run.tp if framework_family(framework.name) in {"megatron", "ascend"} else 1)
        if ep * etp > run.tp * cp * dp:
            raise SkipError(f"ep·etp = {ep * etp} is above tp·cp·dp = {run.tp * cp * dp:.0f}")
    sp = run.sp if run.sp is not None else run.tp > 1 and framework.sequence_parallel
    zero = run.zero if run.zero is not None else min(framework.zero_stages)
    if framework.master_bytes == 0:  # what holds the optimizer's own parameters splits them whenever it splits state
        zero = max(zero, min(framework.zero_stages))
    selective, recompute_layers = recomputed(run, model)
    shard = Shard.from_values(
        tp=run.tp,
        sp=bool(sp) and run.tp > 1,
        cp=cp,
        ep=ep if model.moe else 1,
        etp=etp,
        micro_batch=run.mbs,
        selective=selective,
        recompute_layers=recompute_layers,
        offload_activations=offloaded_share(run, model),
    )
    pipe = Pipe.from_values(pp=run.pp, vpp=vpp if run.pp > 1 else 1, zero_bubble="zero_bubble" in run.features)
    replicas = Replicas.from_values(
        dp=dp,
        zero=zero,
        zero_group=run.zero_group or 0,
        offload_optimizer=0,
        micro_batches=run.gbs / (dp * run.mbs),
    )
    return shard, pipe, replicas

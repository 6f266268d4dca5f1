"""Measured runs as columns of the cost models: from the rows of a run file to predicted seconds per step.

Every row becomes one entry of the columns that the formulas read, so that thousands of rows are predicted at once. A
row that does not say enough is skipped with the missing fact as the reason; nothing that decides the time is guessed.
What a row leaves open and its framework decides (ZeRO stage, sequence parallelism, gradient format) follows the
framework.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from catalogs.catalog import Catalog
from catalogs.errors import ClusterplanError, UnsupportedError
from catalogs.fabric import Fabric
from catalogs.framework import Framework
from catalogs.inheritance import PRECISIONS, framework_family
from catalogs.model import Mla, Model, Moe
from catalogs.profile import Precision
from catalogs.runs import Run
from catalogs.server import Server
from costmodels.adapters import MODULES, Adapters, Tuning
from costmodels.architecture import Architecture
from costmodels.columns import Column
from costmodels.device import Device
from costmodels.efficiency import Efficiency
from costmodels.layer import Setting
from costmodels.layout import ALL_LAYERS, Pipe, Replicas, Shard
from costmodels.recipe import Recipe
from costmodels.stage import OPERATOR_SHARE, layers_of, stage_costs
from costmodels.step import step_seconds

FRAMEWORK_ALIASES: dict[str, str] = {
    "megatron-core": "megatron-lm",
    "megascale": "megatron-lm",
    "custom-megatron-deepspeed": "megatron-deepspeed",
    "ascendspeed": "mindspeed-llm",
}
"""Names under which run files know frameworks of the catalog."""

PRECISION_ALIASES: dict[str, Precision] = {"fp8-blockwise": "fp8"}

NOT_MODELLED = {
    "hybrid_mamba": "state-space layers are not modelled",
    "hybrid_linear_attention": "linear-attention layers are not modelled",
    "sparse_attention": "learned sparse attention is not modelled",
    "tp_2d": "two-dimensional tensor parallelism is not modelled",
    "dualpipe": "the DualPipe schedule is not modelled",
    "swap_optimizer": "optimizer state swapped to host is not modelled",
    "swap_attention": "activations swapped to host are not modelled",
}
"""Flags of rows that cannot be predicted, with the reason."""

FLASH_IS_OPT_IN = frozenset({"megatron-deepspeed"})
"""Frameworks whose default attention writes its scores to memory; a row's flag turns fused attention on."""

PACKED_EXAMPLE_TOKENS = 200.0
"""Mean example of rows that pack several into a sequence: SQuAD v1.1, by the FLOPs that its publishers count per token
100 to 250. Attention stays within an example, so that its share of the time is small whatever the exact length."""

OVERLAP_IS_OPT_IN = frozenset({"megatron-lm", "mindspeed-llm"})
"""Frameworks that overlap data-parallel traffic only where told to; a row's flag says that it was."""

MERGING_DISPATCHERS = frozenset({"deepep", "hybridep"})
"""Dispatchers of tokens to experts that send a token once to a server and copy it there
(https://github.com/deepseek-ai/DeepEP)."""

FP32_NORM_MODELS = "chatglm"
"""Models of no record of their own whose published code scales normed values in fp32 (RMSNorm of modeling_chatglm.py
at https://huggingface.co/THUDM/chatglm3-6b)."""

SECOND_FLASH = "2023-07"
"""Month of FlashAttention 2; rows of earlier months ran kernels of the first generation."""

RECOMPUTE_PER_STAGE = "enable-recompute-layers-per-pp-rank"
"""MindSpeed's launch flag by which a number of recomputed layers is that of a stage, not of each of its chunks."""

LAUNCH_FLAGS = "flags: "
"""What rows of MindSpeed-LLM write before the switches of their launch script, all that are on."""

DTYPE_BYTES = {"bf16": 2.0, "fp16": 2.0, "fp32": 4.0, "fp8": 1.0}


Combination = tuple[str, str, Precision]
"""Accelerator, framework and precision: what a profile is for."""


BEFORE_FUSED_LOSS = ("mosaicml-examples-", "composer-0.12.")
"""Releases beside which llm-foundry's models took torch's cross entropy: the fused one is the default since March 2023
(https://github.com/mosaicml/llm-foundry, history of mosaic_gpt.py)."""


class _SkipError(Exception):
    """A row that cannot be predicted; the message is the reason."""


@dataclass(frozen=True)
class Skipped:
    """A row without a prediction, and why."""

    run: Run
    reason: str


@dataclass(frozen=True, eq=False)
class RunTable:
    """Predictable rows as columns, everything but the profiles' constants.

    Attributes:
        runs: the rows, in the order of the columns.
        accelerators, frameworks, precisions: catalog names of each row.
        setting: of every row, its ``efficiency`` a placeholder until :meth:`predict`.
        pipe, replicas: the rest of the layouts.
        measured_s: measured seconds per step (NaN where only memory was measured).
        may_overlap: 0 where the row says that its communication does not overlap with compute.
        span: tokens over which attention reaches, the sequence or an example packed into it.
        tuning: which rows train adapters beside frozen weights.
    """

    runs: tuple[Run, ...]
    accelerators: tuple[str, ...]
    frameworks: tuple[str, ...]
    precisions: tuple[Precision, ...]
    architecture: Architecture
    shard: Shard
    recipe: Recipe
    device: Device
    seq: Column
    pipe: Pipe
    replicas: Replicas
    measured_s: Column
    may_overlap: Column
    span: Column
    tuning: Tuning

    def __len__(self) -> int:
        return len(self.runs)

    @cached_property
    def is_moe(self) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
        """Whether each row's model has experts."""
        return np.asarray(self.architecture.experts > 0)

    @cached_property
    def is_adapted(self) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
        """Whether each row trains adapters alone."""
        return np.asarray(self.tuning.frozen > 0)

    @cached_property
    def combinations(self) -> list[Combination]:
        """Accelerator, framework and precision of every row."""
        return list(zip(self.accelerators, self.frameworks, self.precisions, strict=True))

    @cached_property
    def groups(self) -> tuple[tuple[str, ...], ...]:
        """The group of every row (:attr:`catalogs.runs.Run.group`)."""
        return tuple(run.group for run in self.runs)

    def setting(self, shard: Shard, recipe: Recipe, efficiency: Efficiency) -> Setting:
        """What the layer level needs, for all rows."""
        tuning = self.tuning if self.is_adapted.any() else None
        return Setting(
            self.architecture,
            shard,
            recipe,
            self.device,
            efficiency,
            self.seq,
            span=self.span,
            tuning=tuning,
        )

    def components(self, efficiency: Efficiency) -> dict[str, Column]:
        """Seconds of a step by component for every row (:func:`costmodels.step.step_seconds`)."""
        e = replace(
            efficiency,
            data_overlap=efficiency.data_overlap * self.may_overlap,
            tensor_overlap=efficiency.tensor_overlap * self.may_overlap,
            expert_overlap=efficiency.expert_overlap * self.may_overlap,
        )
        x = self.setting(self.shard, self.recipe, e)
        costs = stage_costs(x, layers_of(x), self.pipe)
        return step_seconds(costs, self.shard, self.pipe, self.replicas, self.recipe, self.device, e)

    def predict(self, efficiency: Efficiency) -> Column:
        """Predicted seconds per step of every row.

        Args:
            efficiency: constants, 0-d or one entry per row.
        """
        return sum(self.components(efficiency).values(), start=np.zeros(len(self)))

    def select(self, rows: Sequence[int] | np.ndarray[tuple[int], np.dtype[np.intp]]) -> RunTable:
        """The table of some rows, by index."""
        index = np.asarray(rows, dtype=np.intp)

        def take(column: Column) -> Column:
            return column[index]

        architecture = Architecture(
            **{name: take(getattr(self.architecture, name)) for name in Architecture.__dataclass_fields__}
        )
        return RunTable(
            runs=tuple(self.runs[i] for i in index),
            accelerators=tuple(self.accelerators[i] for i in index),
            frameworks=tuple(self.frameworks[i] for i in index),
            precisions=tuple(self.precisions[i] for i in index),
            architecture=architecture,
            shard=self.shard.map(take),
            recipe=self.recipe.map(take),
            device=self.device.map(take),
            seq=take(self.seq),
            pipe=self.pipe.map(take),
            replicas=self.replicas.map(take),
            measured_s=take(self.measured_s),
            may_overlap=take(self.may_overlap),
            span=take(self.span),
            tuning=self.tuning.map(take),
        )


@dataclass(frozen=True, eq=False)
class _Row:
    """One predictable row before stacking."""

    run: Run
    accelerator: str
    framework: str
    precision: Precision
    model: Model
    shard: Shard
    recipe: Recipe
    device: Device
    pipe: Pipe
    replicas: Replicas
    measured_s: float
    span: float
    tuning: Tuning


def run_table(catalog: Catalog, runs: Iterable[Run], *, timed: bool = True) -> tuple[RunTable | None, list[Skipped]]:
    """The predictable rows as one table (None if there is none), and the others with their reasons.

    Rows that the file marks ``suspect`` are skipped.

    Args:
        catalog: what exists.
        runs: rows of a file.
        timed: skip rows without a measured time; False keeps those with measured memory.
    """
    reader = _Reader(catalog, timed)
    rows: list[_Row] = []
    skipped: list[Skipped] = []
    for run in runs:
        try:
            rows.append(reader.row(run))
        except _SkipError as error:
            skipped.append(Skipped(run, str(error)))
    if not rows:
        return None, skipped
    return _stacked(rows), skipped


def _stacked(rows: Sequence[_Row]) -> RunTable:
    return RunTable(
        runs=tuple(row.run for row in rows),
        accelerators=tuple(row.accelerator for row in rows),
        frameworks=tuple(row.framework for row in rows),
        precisions=tuple(row.precision for row in rows),
        architecture=Architecture.stack([row.model for row in rows]),
        shard=Shard.stack([row.shard for row in rows]),
        recipe=Recipe.stack([row.recipe for row in rows]),
        device=Device.stack([row.device for row in rows]),
        seq=np.array([row.run.seq for row in rows], dtype=np.float64),
        pipe=Pipe.stack([row.pipe for row in rows]),
        replicas=Replicas.stack([row.replicas for row in rows]),
        measured_s=np.array([row.measured_s for row in rows]),
        may_overlap=np.array([0.0 if "no_overlap" in row.run.features else 1.0 for row in rows]),
        span=np.array([row.span for row in rows]),
        tuning=Tuning.stack([row.tuning for row in rows]),
    )


class _Reader:
    """Turns single rows into catalog terms; devices and recipes are built once per kind."""

    def __init__(self, catalog: Catalog, timed: bool) -> None:
        self.catalog = catalog
        self.timed = timed
        self._devices: dict[tuple[str, int | None, float | None, Precision], Device] = {}
        self._recipes: dict[tuple[str, Precision, str], Recipe] = {}
        self._models = list(catalog.models.values())

    def row(self, run: Run) -> _Row:
        """One row in catalog terms.

        Raises:
            _SkipError: a fact is missing, or the row has something that is not modelled.
        """
        if run.suspect:
            raise _SkipError(f"suspect: {run.suspect}")
        for flag, reason in NOT_MODELLED.items():
            if flag in run.features:
                raise _SkipError(reason)
        framework = self._framework(run)
        known = self.catalog.accelerators.get(run.accelerator)
        if known is not None and known.vendor not in framework.vendors:
            raise _SkipError(f"{framework.name} does not run on {known.vendor} accelerators by the catalog")
        precision = self._precision(run)
        measured = run.measured_step_s
        if measured is None and (self.timed or run.mem_gib is None):
            raise _SkipError("neither step_s nor tokens_per_s_per_accel with gbs, seq and n_accel is given")
        model = self._model(run, framework)
        shard, pipe, replicas = _layout(run, framework, model)
        assert run.seq
        return _Row(
            run=run,
            accelerator=run.accelerator,
            framework=framework.name,
            precision=precision,
            model=model,
            shard=shard,
            recipe=self._recipe(run, framework, precision),
            device=self._device(run, precision),
            pipe=pipe,
            replicas=replicas,
            measured_s=np.nan if measured is None else measured,
            span=min(PACKED_EXAMPLE_TOKENS, run.seq) if "packed_sequences" in run.features else float(run.seq),
            tuning=_tuning(run, framework, model),
        )

    def _framework(self, run: Run) -> Framework:
        name = FRAMEWORK_ALIASES.get(run.framework, run.framework)
        if name == "megatron-deepspeed" and run.accelerator.startswith("gaudi"):
            name = "optimum-habana"
        if name not in self.catalog.frameworks:
            raise _SkipError(f"framework {run.framework!r} is not in the catalog")
        return self.catalog.frameworks[name]

    def _precision(self, run: Run) -> Precision:
        name = PRECISION_ALIASES.get(run.precision, run.precision)
        for known in PRECISIONS:
            if name == known:
                return known
        raise _SkipError(f"precision {run.precision!r} is not modelled" if run.precision else "precision is not stated")

    def _device(self, run: Run, precision: Precision) -> Device:
        key = (run.accelerator, run.accel_per_node, run.inter_gbps_per_accel, precision)
        if key not in self._devices:
            self._devices[key] = self._new_device(run, precision)
        return self._devices[key]

    def _new_device(self, run: Run, precision: Precision) -> Device:
        accelerator = self.catalog.accelerators.get(run.accelerator)
        if accelerator is None:
            raise _SkipError(f"accelerator {run.accelerator!r} is not in the catalog")
        try:
            server = self.catalog.server_of(run.accelerator)
        except ClusterplanError:
            raise _SkipError(f"no server with {run.accelerator} is in the catalog") from None
        scale_out = run.inter_gbps_per_accel * 1e9 / 8 if run.inter_gbps_per_accel else _nominal_scale_out(server)
        fabric = self._fabric(server)
        if run.accel_per_node and accelerator.scale_up.domain <= server.accelerators <= 16:
            server = server.model_copy(update={"accelerators": run.accel_per_node})
        try:
            return Device.of(accelerator, server.accelerators, fabric, precision, scale_out)
        except UnsupportedError as error:
            raise _SkipError(str(error)) from None

    def _fabric(self, server: Server) -> Fabric:
        if server.fabric is None:
            raise _SkipError(f"server {server.name} has no fabric in the catalog")
        return self.catalog.fabrics[server.fabric]

    def _recipe(self, run: Run, framework: Framework, precision: Precision) -> Recipe:
        key = (framework.name, precision, run.optimizer)
        if key not in self._recipes:
            optimizer = "muon" if run.optimizer == "muon" and "muon" in framework.optimizers else "adamw"
            self._recipes[key] = Recipe.of(framework, precision, optimizer)
        recipe = self._recipes[key]
        changed: dict[str, float] = {}
        if run.grad_dtype in DTYPE_BYTES:
            changed["reduce_bytes"] = DTYPE_BYTES[run.grad_dtype]
        elif precision == "fp16" and framework_family(framework.name) != "fsdp":
            changed["reduce_bytes"] = 2.0  # Megatron and DeepSpeed reduce fp16 gradients as they are
        if "fp32_param_gather" in run.features:
            changed["gather_bytes"] = 4.0
        elif "fp8_param_gather" in run.features:
            changed["gather_bytes"] = 1.0
        changed["flash"] = float(_fused_attention(run, framework))
        changed["first_flash"] = float(bool(run.year) and run.year < SECOND_FLASH)
        if framework.name in OVERLAP_IS_OPT_IN and "dp_overlap" not in run.features:
            changed["overlaps_data"] = 0.0
        changed["overlaps_experts"] = float("ep_overlap" in run.features)
        changed["merges_copies"] = float(not MERGING_DISPATCHERS.isdisjoint(run.features))
        if "ce_fusion" in run.features:
            changed["fused_loss"] = 1.0
        if run.software.startswith(BEFORE_FUSED_LOSS) and "mp_pure" not in run.features:
            changed["fused_loss"] = 0.0
        return replace(recipe, **{name: np.asarray(value) for name, value in changed.items()})

    def _model(self, run: Run, framework: Framework) -> Model:
        needed = ("layers", "hidden", "heads", "ffn", "vocab", "gated")
        missing = [name for name in needed if getattr(run, name) is None]
        if missing:
            raise _SkipError(f"{', '.join(missing)} of the model is not stated")
        assert run.layers
        assert run.hidden
        assert run.heads
        assert run.vocab
        assert run.ffn is not None
        kv_heads = run.kv_heads or run.heads
        head_dim = run.head_dim or run.hidden // run.heads
        known = self._known(run)
        mla = _latent(run, known, self._models)
        moe = _experts(run, known)
        # Scripts that load published weights run the published MLP, whatever name its activation has in them.
        gated = known.gated if known is not None and known.ffn == run.ffn else bool(run.gated)
        classic = not gated and "alibi" not in run.features
        old = classic and framework_family(framework.name) in {"megatron", "deepspeed"}
        window_layers = 0
        if run.window:
            window_layers = run.layers // 2 if "swa_alternate" in run.features else run.layers
            if known is not None and known.window:
                window_layers = run.layers * known.window_layers // known.layers
        try:
            return Model(
                name="run",
                family=run.model,
                layers=run.layers,
                hidden=run.hidden,
                heads=run.heads,
                kv_heads=run.heads if mla else kv_heads,
                head_dim=head_dim,
                ffn=run.ffn,
                vocab=run.vocab,
                gated=gated,
                tied=bool(run.tied) if run.tied is not None else not gated,
                learned_positions=run.seq or 0 if classic else 0,
                mlp_bias=not gated,
                norm="rms" if gated else "layer",
                norms_per_layer=known.norms_per_layer if known else 2,
                qk_norm=known.qk_norm if known else "none",
                parallel_block="parallel_block" in run.features,
                dropout=known.dropout if known else old and not _fused_attention(run, framework),
                window=run.window or 0,
                window_layers=window_layers,
                mtp_layers=int("mtp" in run.features),
                square_alibi=known.square_alibi if known else False,
                tanh_gelu=known.tanh_gelu if known else False,
                logit_softcap=known.logit_softcap if known else False,
                fp32_norm=run.model.startswith(FP32_NORM_MODELS),
                moe=moe,
                mla=mla,
                sources={"*": run.source or run.id},
                date="2026",
            )
        except ValueError as error:
            raise _SkipError(f"the architecture contradicts itself: {str(error).splitlines()[-2].strip()}") from None

    def _known(self, run: Run) -> Model | None:
        """The catalog's model of the same widths as the row's, whatever its number of layers."""
        for model in self._models:
            if (model.hidden, model.heads, model.vocab) == (run.hidden, run.heads, run.vocab) and (
                (model.moe.experts if model.moe else None) == run.experts
            ):
                return model
        return None


def _fused_attention(run: Run, framework: Framework) -> bool:
    """Whether attention scores never reach memory: as the row says, else as the framework does by default."""
    if "no_flash_attention" in run.features:
        return False
    if run.features & {"flash_attention", "triton_attention", "flex_attention"}:
        return True
    if framework.name == "mindspeed-llm" and LAUNCH_FLAGS in run.notes:
        return "use-flash-attn" in run.notes
    return framework.flash_attention and framework.name not in FLASH_IS_OPT_IN


def _nominal_scale_out(server: Server) -> float:
    if server.scale_out_bytes_per_s_per_accelerator is None:
        raise _SkipError(f"network bandwidth is not stated and server {server.name} has none in the catalog")
    return server.scale_out_bytes_per_s_per_accelerator


def _latent(run: Run, known: Model | None, models: Sequence[Model]) -> Mla | None:
    """Latent attention of the row, its ranks from the catalog's model of the same width and heads."""
    if run.attention != "mla":
        return None
    if known is not None and known.mla is not None:
        return known.mla
    for model in models:
        if model.mla is not None and (model.hidden, model.heads) == (run.hidden, run.heads):
            return model.mla
    raise _SkipError("ranks of the latent attention are not stated")


def _experts(run: Run, known: Model | None) -> Moe | None:
    """Experts of the row.

    A count of MoE layers above that of all layers comes from launch scripts that say -1 for no dense layer first.
    """
    if run.experts is None:
        return None
    if run.topk is None or run.moe_ffn is None:
        raise _SkipError("topk or moe_ffn of the experts is not stated")
    assert run.layers
    layers = run.layers if run.moe_layers is None else min(run.moe_layers, run.layers)
    every = known.moe.every if known is not None and known.moe is not None else 1
    first = run.layers - layers * every
    if first < 0:
        every, first = 1, run.layers - layers
    shared = run.shared_experts * run.moe_ffn if run.shared_experts else 0
    if known is not None and known.moe is not None and run.shared_experts != 0:
        shared = known.moe.shared_ffn
    if layers == 0:
        return None
    return Moe(
        experts=run.experts,
        topk=run.topk,
        ffn=run.moe_ffn,
        shared_ffn=shared,
        first_dense_layers=first,
        every=every,
        expert_bias=known is not None and known.moe is not None and known.moe.expert_bias,
    )


def _layout(run: Run, framework: Framework, model: Model) -> tuple[Shard, Pipe, Replicas]:
    """The row's layout."""
    missing = [name for name in ("n_accel", "seq", "gbs", "mbs", "tp", "pp") if getattr(run, name) is None]
    if missing:
        raise _SkipError(f"{', '.join(missing)} is not stated")
    assert run.n_accel
    assert run.gbs
    assert run.mbs
    assert run.tp
    assert run.pp
    if run.vpp is None and run.pp > 1 and "interleaved" in run.features:
        raise _SkipError("vpp of the interleaved schedule is not stated")
    vpp, cp, ep = run.vpp or 1, run.cp or 1, run.ep or 1
    dp = run.n_accel / (run.tp * run.pp * cp)
    if dp != int(dp) or (run.dp is not None and run.dp != dp):
        raise _SkipError(f"tp·cp·pp·dp is not the number of accelerators ({run.n_accel})")
    if run.gbs < dp * run.mbs:
        raise _SkipError(f"the global batch {run.gbs} is smaller than dp·mbs = {dp * run.mbs:.0f}")
    chunks = run.pp * vpp
    chunk = -(-model.layers // chunks)
    if (chunk * chunks - model.layers + 1) // 2 > chunk:
        raise _SkipError(f"{model.layers} layers cannot be cut into {chunks} pipeline chunks")
    etp = 1
    if model.moe is not None:
        ep = min(ep, model.moe.experts)
        etp = run.etp or (run.tp if framework_family(framework.name) in {"megatron", "ascend"} else 1)
        if ep * etp > run.tp * cp * dp:
            raise _SkipError(f"ep·etp = {ep * etp} is above tp·cp·dp = {run.tp * cp * dp:.0f}")
    sp = run.sp if run.sp is not None else run.tp > 1 and framework.sequence_parallel
    zero = run.zero if run.zero is not None else min(framework.zero_stages)
    if framework.master_bytes == 0:  # what holds the optimizer's own parameters splits them whenever it splits state
        zero = max(zero, min(framework.zero_stages))
    selective, recompute_layers = _recompute(run, model)
    shard = Shard.from_values(
        tp=run.tp,
        sp=bool(sp) and run.tp > 1,
        cp=cp,
        ep=ep if model.moe else 1,
        etp=etp,
        micro_batch=run.mbs,
        selective=selective,
        recompute_layers=recompute_layers,
        offload_activations=_offloaded_share(run, model),
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


def _tuning(run: Run, framework: Framework, model: Model) -> Tuning:
    """What the row trains: everything, or the adapters of its framework's benchmarks."""
    if run.task != "lora" and "lora" not in run.features:
        return Tuning.whole()
    if framework.adapter_rank is None or not framework.adapter_modules:
        raise _SkipError(f"LoRA: rank and matrices of the adapters are neither stated nor known of {framework.name}")
    if model.mla is not None:
        raise _SkipError("LoRA: adapters on latent attention are not modelled")
    on = {name: float(name in framework.adapter_modules) for name in MODULES}
    return Tuning.of(Adapters.from_values(rank=framework.adapter_rank, joint=framework.joint_adapters, **on))


def _offloaded_share(run: Run, model: Model) -> float:
    """Share of a stage's layers whose activations wait in host memory."""
    assert run.pp
    if found := re.search(r"activations of (\d+) layers", run.offload):
        return min(float(found.group(1)) * run.pp / model.layers, 1.0)
    return float(run.offload == "activations")


def _recompute(run: Run, model: Model) -> tuple[float, float]:
    """Whether the attention core is recomputed, and how many leading layers of a stage are.

    Recomputation of single modules or operators counts as the number of whole layers of the same FLOPs.
    """
    text = run.recompute
    if text in {"", "none"}:
        return 0.0, 0.0
    if text == "full":
        return 0.0, ALL_LAYERS
    if text == "selective":
        return 1.0, 0.0
    assert run.pp
    per_stage = model.layers / run.pp
    if found := re.search(r"(\d+) layers per \(virtual\) stage", text):
        once = RECOMPUTE_PER_STAGE in run.notes
        return 0.0, float(found.group(1)) * (1 if once else run.vpp or 1)
    if found := re.search(r"full, block policy, (\d+) of (\d+) layers", text):
        return 0.0, float(found.group(1)) / run.pp
    if text == "other:op-sac":
        return 0.0, OPERATOR_SHARE * per_stage
    if found := re.search(r"modules=(\S+)", text):
        modules = found.group(1).split("+")
        return float("core_attn" in modules), _module_share(model, modules) * per_stage
    raise _SkipError(f"recomputation {text.removeprefix('other:')!r} is not modelled")


def _module_share(model: Model, modules: Sequence[str]) -> float:
    """Share of an average layer's forward FLOPs in the recomputed modules."""
    attention = model.hidden * model.head_dim * (2 * model.heads + 2 * model.kv_heads)
    up = 0.0
    if model.mla is not None:
        m = model.mla
        up = m.q_lora * model.heads * (m.nope_head_dim + m.rope_head_dim)
        up += m.kv_lora * model.heads * (m.nope_head_dim + m.v_head_dim)
        down = model.hidden * (m.q_lora + m.kv_lora + m.rope_head_dim)
        attention = up + down + model.heads * m.v_head_dim * model.hidden
    wide = (3 if model.gated else 2) * model.hidden
    moe, dense_layers = 0.0, float(model.layers)
    if model.moe is not None:
        moe_layers = (model.layers - model.moe.first_dense_layers) // model.moe.every
        dense_layers = model.layers - moe_layers
        moe = wide * (model.moe.topk * model.moe.ffn + model.moe.shared_ffn) * moe_layers
    mlp = float(wide * model.ffn * dense_layers)
    total = attention * model.layers + mlp + moe
    repeated = mlp * ("mlp" in modules) + moe * ("moe" in modules) + up * model.layers * ("mla_up_proj" in modules)
    return repeated / total

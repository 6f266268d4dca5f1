"""A layout: the degrees, schedule and recomputation of one configuration."""

from __future__ import annotations

from dataclasses import dataclass

from costmodels.layout import ALL_LAYERS, Pipe, Replicas, Shard


@dataclass(frozen=True)
class Layout:
    """How the model is cut; the JSON names of ``layout`` in the schema.

    Attributes:
        tp, pp, vpp, dp, cp, ep, etp: parallel degrees.
        zero: ZeRO stage.
        zero_group: ranks sharing one copy of sharded state (0 = all data- and context-parallel ranks).
        micro_batch, micro_batches, global_batch: sequences per micro-batch, micro-batches and sequences per step.
        recompute: ``none``, ``selective``, ``full`` or ``first-N`` (leading N layers of each stage).
        sequence_parallel: whether the residual stream is split over tp.
        schedule: ``1f1b``, ``interleaved`` or ``zero_bubble``.
        offload: ``none``, ``optimizer`` or ``activations``.
    """

    tp: int
    pp: int
    vpp: int
    dp: int
    cp: int
    ep: int
    etp: int
    zero: int
    zero_group: int
    micro_batch: int
    micro_batches: int
    global_batch: int
    recompute: str
    sequence_parallel: bool
    schedule: str
    offload: str

    @classmethod
    def of(cls, degrees: dict[str, int]) -> Layout:
        """The record of the search's plain degrees."""
        layers = degrees["recompute_layers"]
        recompute = "full" if layers >= ALL_LAYERS else f"first-{layers}" if layers else "none"
        if degrees["selective"]:
            recompute = "selective"
        schedule = "zero_bubble" if degrees["zero_bubble"] else "interleaved" if degrees["vpp"] > 1 else "1f1b"
        offload = "optimizer" if degrees["offload_optimizer"] else "none"
        if degrees["offload_activations"]:
            offload = "activations"
        return cls(
            **{n: degrees[n] for n in ("tp", "pp", "vpp", "dp", "cp", "ep", "etp", "zero", "zero_group")},
            micro_batch=degrees["micro_batch"],
            micro_batches=degrees["micro_batches"],
            global_batch=degrees["micro_batches"] * degrees["micro_batch"] * degrees["dp"],
            recompute=recompute,
            sequence_parallel=bool(degrees["sp"]),
            schedule=schedule,
            offload=offload,
        )

    @property
    def degrees(self) -> dict[str, int]:
        """The plain degrees that :meth:`of` reads."""
        layers = {"none": 0, "selective": 0, "full": int(ALL_LAYERS)}
        return {
            "tp": self.tp,
            "sp": int(self.sequence_parallel),
            "pp": self.pp,
            "vpp": self.vpp,
            "zero_bubble": int(self.schedule == "zero_bubble"),
            "dp": self.dp,
            "cp": self.cp,
            "ep": self.ep,
            "etp": self.etp,
            "zero": self.zero,
            "zero_group": self.zero_group,
            "micro_batch": self.micro_batch,
            "micro_batches": self.micro_batches,
            "selective": int(self.recompute == "selective"),
            "recompute_layers": layers[self.recompute]
            if self.recompute in layers
            else int(self.recompute.removeprefix("first-")),
            "offload_activations": int(self.offload == "activations"),
            "offload_optimizer": int(self.offload == "optimizer"),
        }

    @property
    def accelerators(self) -> int:
        """Accelerators in use."""
        return self.tp * self.pp * self.cp * self.dp

    @property
    def shard(self) -> Shard:
        """The layer-level columns, 0-d."""
        return Shard.from_values(**{name: self.degrees[name] for name in Shard.names()})

    @property
    def pipe(self) -> Pipe:
        """The stage-level columns, 0-d."""
        return Pipe.from_values(**{name: self.degrees[name] for name in Pipe.names()})

    @property
    def replicas(self) -> Replicas:
        """The step-level columns, 0-d."""
        return Replicas.from_values(**{name: self.degrees[name] for name in Replicas.names()})

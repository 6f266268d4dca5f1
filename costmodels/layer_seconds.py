"""Seconds of one layer by cause, and of its passes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from costmodels.columns import Column, Columns


@dataclass(frozen=True, eq=False)
class LayerSeconds(Columns):
    """Seconds by cause, forward (f) and backward (b), of one layer, block or head on one rank and micro-batch.

    Attributes:
        matmul_f, matmul_b: linear layers; ``matmul_b`` holds input and weight gradients.
        weight_gradient: the part of ``matmul_b`` that zero-bubble schedules may postpone.
        core_f, core_b: attention scores and context.
        memory_f, memory_b: element-wise kernels.
        launch_f, launch_b: waiting for the host to launch kernels, beyond the device time.
        tensor_f, tensor_b: exposed tensor-parallel collectives.
        context_f, context_b: exposed context-parallel exchange.
        expert_f, expert_b: exposed expert-parallel exchange.
        selective: what recomputing the attention core costs.
    """

    matmul_f: Column
    matmul_b: Column
    weight_gradient: Column
    core_f: Column
    core_b: Column
    memory_f: Column
    memory_b: Column
    launch_f: Column
    launch_b: Column
    tensor_f: Column
    tensor_b: Column
    context_f: Column
    context_b: Column
    expert_f: Column
    expert_b: Column
    selective: Column

    def __add__(self, other: LayerSeconds) -> LayerSeconds:
        return LayerSeconds(**{name: getattr(self, name) + getattr(other, name) for name in self.names()})

    def times(self, count: Column) -> LayerSeconds:
        """The seconds of ``count`` such layers."""
        return self.map(lambda column: column * count)

    @property
    def passes(self) -> PassSeconds:
        """The sums that stages are built from."""
        return PassSeconds(
            forward=(
                self.matmul_f
                + self.core_f
                + self.memory_f
                + self.launch_f
                + self.tensor_f
                + self.context_f
                + self.expert_f
            ),
            backward=(
                self.matmul_b
                + self.core_b
                + self.memory_b
                + self.launch_b
                + self.tensor_b
                + self.context_b
                + self.expert_b
            ),
            weight_gradient=self.weight_gradient,
            selective=self.selective,
        )


@dataclass(frozen=True, eq=False)
class PassSeconds(Columns):
    """Seconds of the passes through one layer (or head) on one rank and micro-batch.

    Attributes:
        forward: the forward pass.
        backward: the backward pass, recomputation left out.
        weight_gradient: the part of ``backward`` that zero-bubble schedules may postpone.
        selective: what recomputing the attention core costs.
    """

    forward: Column
    backward: Column
    weight_gradient: Column
    selective: Column


def nothing_but(**seconds: Column) -> LayerSeconds:
    """The seconds that are given, and 0 of all others."""
    zero = np.zeros(())
    return LayerSeconds(**{name: seconds.get(name, zero) for name in LayerSeconds.names()})

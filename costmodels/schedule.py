"""Pipeline schedules: how long the pipe is full or empty, and how many micro-batches a stage holds."""

from __future__ import annotations

import numpy as np

from costmodels.columns import Column
from costmodels.layout import Pipe


def in_flight(pipe: Pipe, micro_batches: Column, stage: Column) -> Column:
    """Micro-batches whose activations stage ``stage`` holds at its peak, in units of whole stages.

    1F1B and ZB-H1: min(pp - stage, m) (Narayanan et al. 2021, section 2.2; Qi et al. 2023, section 2).
    Interleaved: the warm-up of Megatron-LM plus one, in chunks: min(2(pp-stage-1) + (vpp-1)·pp + 1, m·vpp) / vpp.
    """
    warm_up = 2.0 * (pipe.pp - stage - 1) + (pipe.vpp - 1) * pipe.pp + 1
    chunks = np.where(pipe.vpp > 1, warm_up, pipe.pp - stage)
    return np.minimum(chunks, micro_batches * pipe.vpp) / pipe.vpp


def bubble_seconds(pipe: Pipe, slowest_s: Column, total_s: Column, weight_gradient_s: Column) -> Column:
    """Seconds per step in which the slowest stage waits for the pipe to fill and drain.

    With equal stages of t seconds this is (pp-1)·t/vpp (Narayanan et al. 2021, equation 2); with unequal ones the
    other stages' passes before and after are what the slowest one waits for. ZB-H1 fills it with weight gradients:
    (pp-1)(F+B-W) (Qi et al. 2023, table 2), that is 2(pp-1)·W less than 1F1B.

    Args:
        pipe: pipeline columns.
        slowest_s: forward and backward seconds of one micro-batch on the slowest stage (all its chunks).
        total_s: the same summed over the stages.
        weight_gradient_s: weight-gradient seconds of one micro-batch, mean over the stages.
    """
    plain = (total_s - slowest_s) / pipe.vpp
    filled = 2.0 * (pipe.pp - 1) * weight_gradient_s
    return np.where(pipe.zero_bubble > 0, np.maximum(plain - filled, 0.0), plain)

"""Goodput: the share of wall-clock time that makes progress when hardware fails and work is checkpointed.

Interruptions come at a constant rate (Poisson), in proportion to the accelerators. After each, the job restarts and
repeats what was done since the last checkpoint. Expected times are those of Daly 2006 ("A higher order estimate of the
optimum checkpoint interval for restart dumps", eq. 20), exact for exponential gaps; spread and spares follow from the
same process. Every function takes and gives arrays; nothing is random here (the simulation is in the tests).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from costmodels.columns import Column, Columns

MAX_SPARES = 4096
"""Most spare servers that :func:`spares_needed` looks for."""


@dataclass(frozen=True)
class Reliability(Columns):
    """What interrupts a job, and what an interruption and a checkpoint cost.

    Attributes:
        failures_per_accelerator_s: interruptions per accelerator and second of running.
        restart_s: from the interruption to the first new step: detection, rescheduling, start, loading.
        checkpoint_s: training stands still for one checkpoint (an asynchronous one: only for the snapshot).
    """

    failures_per_accelerator_s: Column
    restart_s: Column
    checkpoint_s: Column

    def mtbi_s(self, accelerators: Column) -> Column:
        """Mean seconds between interruptions of a job on so many accelerators."""
        return 1.0 / (self.failures_per_accelerator_s * accelerators)


def checkpoint_bytes(parameters: Column, bytes_per_parameter: Column) -> Column:
    """Bytes of one checkpoint: all parameters with their optimizer state.

    Args:
        parameters: of the model.
        bytes_per_parameter: 14 with bf16 weights, fp32 master copy and two fp32 Adam moments; 12 without the bf16 copy.
    """
    return parameters * bytes_per_parameter


def checkpoint_stall_s(
    total_bytes: Column, accelerators: Column, storage_bytes_per_s: Column, host_bytes_per_s: Column, overlapped: Column
) -> Column:
    """Seconds that training stands still for one checkpoint.

    Written through, it takes as long as the storage needs; overlapped, only the copy of each accelerator's share into
    host memory stops training (the storage still bounds how often: see :func:`drain_s`).
    """
    through = drain_s(total_bytes, storage_bytes_per_s)
    snapshot = total_bytes / accelerators / host_bytes_per_s
    return np.where(overlapped > 0, np.minimum(snapshot, through), through)


def drain_s(total_bytes: Column, storage_bytes_per_s: Column) -> Column:
    """Seconds until one checkpoint is on storage; checkpoints cannot follow each other faster."""
    return total_bytes / storage_bytes_per_s


def optimal_interval_s(mtbi_s: Column, checkpoint_s: Column) -> Column:
    """Seconds of work between checkpoints that lose least (Daly 2006, eq. 37; Young 1974 is its first term).

    >>> float(optimal_interval_s(np.asarray(20000.0), np.asarray(1.0)).round(1))
    199.3
    """
    ratio = np.asarray(checkpoint_s / (2.0 * mtbi_s))
    young = np.asarray(np.sqrt(2.0 * checkpoint_s * mtbi_s))
    return np.where(ratio < 1.0, young * (1.0 + np.sqrt(ratio) / 3.0 + ratio / 9.0) - checkpoint_s, mtbi_s)


def goodput(mtbi_s: Column, interval_s: Column, checkpoint_s: Column, restart_s: Column) -> Column:
    """Expected share of time that makes progress (Daly 2006, eq. 20): failures also hit checkpoints and restarts.

    ``work / wall`` with ``wall = M e^(R/M) (e^((τ+δ)/M) - 1) work / τ``.
    """
    stretch = np.expm1((interval_s + checkpoint_s) / mtbi_s) * np.exp(restart_s / mtbi_s)
    return np.asarray(interval_s / (mtbi_s * stretch))


def expected_goodput(reliability: Reliability, accelerators: Column, least_interval_s: Column) -> Column:
    """Goodput with the best checkpoint interval that the storage allows; falls as accelerators grow.

    Args:
        reliability: rates and times.
        accelerators: of the job.
        least_interval_s: shortest interval (the drain time of a checkpoint, or one step).
    """
    mtbi = reliability.mtbi_s(accelerators)
    interval = np.maximum(optimal_interval_s(mtbi, reliability.checkpoint_s), least_interval_s)
    return goodput(mtbi, interval, reliability.checkpoint_s, reliability.restart_s)


def lost_time_sigma_s(work_s: Column, mtbi_s: Column, interval_s: Column, restart_s: Column) -> Column:
    """Standard deviation of the wall-clock seconds of a run, from the randomness of failures alone.

    Compound Poisson: each of ``wall / M`` interruptions costs the restart and a uniform part of an interval, so the
    variance is ``n (R² + R τ + τ² / 3)``; to first order in ``τ / M``.
    """
    failures = work_s / mtbi_s
    return np.sqrt(failures * (restart_s**2 + restart_s * interval_s + interval_s**2 / 3.0))


def log_sigma(share: Column, rate_log_sigma: Column, work_s: Column, sigma_s: Column) -> Column:
    """Standard deviation of the logarithm of the wall-clock time.

    The lost share moves with the failure rate, about in proportion (restarts) or with its root (checkpoints); the
    proportional reading is the wider one. The randomness of single failures comes on top.

    Args:
        share: expected goodput.
        rate_log_sigma: of the failure rate between clusters.
        work_s: seconds of work.
        sigma_s: from :func:`lost_time_sigma_s`.
    """
    return np.hypot((1.0 - share) * rate_log_sigma, sigma_s * share / work_s)


def spares_needed(servers: Column, failures_per_server_s: Column, repair_s: Column, availability: Column) -> Column:
    """Spare servers with which at least ``servers`` work with probability ``availability``.

    Servers in repair are Poisson with mean ``servers · rate · repair time`` (M/G/∞), whatever the law of repairs.
    """
    mean, wanted = np.broadcast_arrays(
        np.asarray(servers * failures_per_server_s * repair_s, dtype=np.float64), np.asarray(availability)
    )
    term = np.exp(-mean)
    total = term.copy()
    spares = np.zeros(mean.shape)
    for count in range(1, MAX_SPARES + 1):
        short = total < wanted * (1.0 - 1e-12)
        if not short.any():
            break
        spares = np.where(short, float(count), spares)
        term = term * mean / count
        total = np.where(short, total + term, total)
    return spares

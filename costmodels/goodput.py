"""Goodput: the share of wall-clock time that makes progress when hardware fails and work is checkpointed.

Interruptions come at a constant rate (Poisson), in proportion to the accelerators. What one costs is a matter of how
the job recovers (:class:`Recovery`): machines restart it and it repeats what was done since the last checkpoint, people
do, or the replicas that are left go on. Expected times are those of Daly 2006 ("A higher order estimate of the optimum
checkpoint interval for restart dumps", eq. 20), exact for exponential gaps, and of renewal processes; spread and spares
follow from the same process. Every function takes and gives arrays; nothing is random here (the simulations are in the
tests).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from statistics import NormalDist

import numpy as np

from costmodels.columns import Column, Columns
from costmodels.interval import NORMAL_90, combined_sigma

MANY_IN_REPAIR = 500.0
"""Servers in repair at a time above which their Poisson law is taken as normal (quantiles right to one server)."""


@dataclass(frozen=True)
class Recovery(Columns):
    """How a job comes back from an interruption.

    Attributes:
        restart_s: all accelerators stand still so long: detection, rescheduling, start, loading (or, where the other
            replicas go on, only detection and regrouping).
        restart_log_sigma: standard deviation of its logarithm between clusters.
        begins_again: 1 where an interruption during a restart begins it again (nobody but machines), 0 where it is seen
            to in the same one (people, who wait for all nodes to be healthy).
        rolls_back: 1 where the work since the last checkpoint is repeated, 0 where another replica still holds it.
        replica_share: share of the accelerators that stay out after the restart (0: all are back).
        replica_restart_s: from the end of the restart until they are back.
    """

    restart_s: Column
    restart_log_sigma: Column
    begins_again: Column
    rolls_back: Column
    replica_share: Column
    replica_restart_s: Column

    @classmethod
    def automatic(cls, restart_s: float, restart_log_sigma: float) -> Recovery:
        """Machines find the fault, replace the server and restart the whole job."""
        return cls.from_values(
            restart_s=restart_s,
            restart_log_sigma=restart_log_sigma,
            begins_again=1,
            rolls_back=1,
            replica_share=0,
            replica_restart_s=0,
        )

    @classmethod
    def manual(cls, restart_s: float, restart_log_sigma: float) -> Recovery:
        """People notice, find the fault, replace the server and restart the whole job."""
        return cls.from_values(
            restart_s=restart_s,
            restart_log_sigma=restart_log_sigma,
            begins_again=0,
            rolls_back=1,
            replica_share=0,
            replica_restart_s=0,
        )

    @classmethod
    def replica(cls, stall_s: float, replica_share: float, replica_restart_s: float) -> Recovery:
        """The replica that failed restarts, and takes its state from another one; the others go on after a stall."""
        return cls.from_values(
            restart_s=stall_s,
            restart_log_sigma=0,
            begins_again=1,
            rolls_back=0,
            replica_share=replica_share,
            replica_restart_s=replica_restart_s,
        )


@dataclass(frozen=True)
class Reliability(Columns):
    """What interrupts a job, and what an interruption and a checkpoint cost.

    Attributes:
        failures_per_accelerator_s: interruptions per accelerator and second of running.
        checkpoint_s: training stands still for one checkpoint (an asynchronous one: only for the snapshot).
        recovery: from an interruption.
    """

    failures_per_accelerator_s: Column
    checkpoint_s: Column
    recovery: Recovery

    def mtbi_s(self, accelerators: Column) -> Column:
        """Mean seconds between interruptions of a job on so many accelerators."""
        return 1.0 / (self.failures_per_accelerator_s * accelerators)

    def interruptions(self, accelerators: Column, wall_s: Column) -> Column:
        """Expected interruptions of a job in so many seconds (none of a job that waits for people)."""
        mtbi = self.mtbi_s(accelerators)
        up = np.where(self.recovery.begins_again > 0, 1.0, running_share(mtbi, self.recovery))
        return np.asarray(wall_s / mtbi * up)


def checkpoint_stall_s(
    total_bytes: Column, accelerators: Column, accelerator_bytes_per_s: Column, longest_s: Column
) -> Column:
    """Seconds that training stands still for one checkpoint written through to storage.

    Storage grows with the cluster, and that of a small cluster is fast enough to take a checkpoint in ``longest_s``.

    >>> checkpoint_stall_s(np.asarray(980e9), np.asarray([100.0, 1000.0]), np.asarray(98e6), np.asarray(60.0))
    array([60., 10.])
    """
    return np.minimum(total_bytes / (accelerators * accelerator_bytes_per_s), longest_s)


def optimal_interval_s(mtbi_s: Column, checkpoint_s: Column) -> Column:
    """Seconds of work between checkpoints that lose least (Daly 2006, eq. 37; Young 1974 is its first term).

    >>> float(optimal_interval_s(np.asarray(20000.0), np.asarray(1.0)).round(1))
    199.3
    """
    ratio = np.asarray(checkpoint_s / (2.0 * mtbi_s))
    young = np.asarray(np.sqrt(2.0 * checkpoint_s * mtbi_s))
    return np.where(ratio < 1.0, young * (1.0 + np.sqrt(ratio) / 3.0 + ratio / 9.0) - checkpoint_s, mtbi_s)


def running_share(mtbi_s: Column, recovery: Recovery) -> Column:
    """Share of time in which the job is up: the rest is restarts.

    Where an interruption begins a restart again, ``e^(-R/M)`` (Daly 2006); else gaps and restarts alternate:
    ``M/(M+R)``.
    """
    hit = recovery.restart_s / mtbi_s
    return np.asarray(np.where(recovery.begins_again > 0, np.exp(-hit), 1.0 / (1.0 + hit)))


def kept_share(mtbi_s: Column, interval_s: Column, checkpoint_s: Column, recovery: Recovery) -> Column:
    """Share of a running job's time that is work and not checkpoints or work done again.

    With rollback ``τ / (M (e^((τ+δ)/M) - 1))`` (Daly 2006), without it ``τ / (τ + δ)``: checkpoints go on as an
    insurance against the loss of every replica.
    """
    period = interval_s + checkpoint_s
    return np.asarray(interval_s / np.where(recovery.rolls_back > 0, mtbi_s * np.expm1(period / mtbi_s), period))


def standing_share(mtbi_s: Column, recovery: Recovery) -> Column:
    """Share of the accelerators that work while the job runs: the rest is in replicas that restart.

    A replica of the share ``q`` fails once in ``M/q`` and is back after ``R``: it is there for ``(M/q) / (M/q + R)``.
    """
    return np.asarray(1.0 / (1.0 + recovery.replica_share * recovery.replica_restart_s / mtbi_s))


def goodput(mtbi_s: Column, interval_s: Column, checkpoint_s: Column, recovery: Recovery) -> Column:
    """Expected share of time that makes progress, in accelerators of the whole job.

    With restarts that begin again it is ``work / wall`` of Daly 2006, eq. 20:
    ``wall = M e^(R/M) (e^((τ+δ)/M) - 1) work / τ``.
    """
    kept = kept_share(mtbi_s, interval_s, checkpoint_s, recovery)
    return kept * running_share(mtbi_s, recovery) * standing_share(mtbi_s, recovery)


def expected_goodput(reliability: Reliability, accelerators: Column) -> Column:
    """Goodput with the best checkpoint interval; a job stands still for a checkpoint, so none is too short."""
    mtbi = reliability.mtbi_s(accelerators)
    interval = optimal_interval_s(mtbi, reliability.checkpoint_s)
    return goodput(mtbi, interval, reliability.checkpoint_s, reliability.recovery)


def lost_time_sigma_s(work_s: Column, mtbi_s: Column, interval_s: Column, recovery: Recovery) -> Column:
    """Standard deviation of the wall-clock seconds of a run, from the randomness of failures alone.

    Compound Poisson: each of ``wall / M`` interruptions costs the restart, what the replica misses and, with rollback,
    a uniform part of an interval, so the variance is ``n (R² + R τ + τ² / 3)``; to first order in ``τ / M``.
    """
    failures = work_s / mtbi_s
    fixed = recovery.restart_s + recovery.replica_share * recovery.replica_restart_s
    repeated = recovery.rolls_back * interval_s
    return np.sqrt(failures * (fixed**2 + fixed * repeated + repeated**2 / 3.0))


@dataclass(frozen=True)
class Resilience(Columns):
    """What interrupts a job on a cluster of any size, and what it writes to survive that.

    Attributes:
        failures_per_accelerator_s: interruptions per accelerator and second of running.
        rate_log_sigma: standard deviation of the logarithm of that rate between clusters.
        checkpoint_bytes: of one checkpoint.
        accelerator_bytes_per_s: what the storage takes, per accelerator of the cluster.
        longest_checkpoint_s: storage is at least fast enough to write a checkpoint in this time.
        recovery: from an interruption.
    """

    failures_per_accelerator_s: Column
    rate_log_sigma: Column
    checkpoint_bytes: Column
    accelerator_bytes_per_s: Column
    longest_checkpoint_s: Column
    recovery: Recovery

    def on(self, accelerators: Column) -> Reliability:
        """The rates and times of clusters of so many accelerators."""
        stall = checkpoint_stall_s(
            self.checkpoint_bytes, accelerators, self.accelerator_bytes_per_s, self.longest_checkpoint_s
        )
        return Reliability(self.failures_per_accelerator_s, stall, self.recovery)

    def bytes_per_s(self, accelerators: Column) -> Column:
        """What the storage of the cluster takes while a checkpoint is written."""
        return self.checkpoint_bytes / self.on(accelerators).checkpoint_s

    def interval_s(self, accelerators: Column) -> Column:
        """Seconds of work between two checkpoints."""
        one = self.on(accelerators)
        return optimal_interval_s(one.mtbi_s(accelerators), one.checkpoint_s)

    def goodput(self, accelerators: Column) -> Column:
        """Expected share of time that makes progress; it falls as the cluster grows."""
        return expected_goodput(self.on(accelerators), accelerators)

    def log_sigma(self, accelerators: Column, wall_s: Column, share: Column) -> Column:
        """Standard deviation of the logarithm of the wall-clock time, given its expectation and the goodput.

        Independent causes: the rate between clusters, as far as it delays the run at its 95% point; how long a team
        takes to restart; and the randomness of single failures.
        """
        mtbi, work = self.on(accelerators).mtbi_s(accelerators), wall_s * share
        often = self.failures_per_accelerator_s * np.exp(NORMAL_90 * self.rate_log_sigma)
        slowest = replace(self, failures_per_accelerator_s=often).goodput(accelerators)
        rates = np.log(share / np.maximum(slowest, np.finfo(float).tiny)) / NORMAL_90
        restarts = (1.0 - running_share(mtbi, self.recovery)) * self.recovery.restart_log_sigma
        spread = lost_time_sigma_s(work, mtbi, self.interval_s(accelerators), self.recovery) * share / work
        return combined_sigma(rates, restarts, spread)


def spares_needed(servers: Column, failures_per_server_s: Column, repair_s: Column, availability: Column) -> Column:
    """Spare servers with which at least ``servers`` work with probability ``availability``.

    Servers in repair are Poisson with mean ``servers · rate · repair time`` (M/G/∞), whatever the law of repairs.
    """
    mean, wanted = np.broadcast_arrays(
        np.asarray(servers * failures_per_server_s * repair_s, dtype=np.float64), np.asarray(availability)
    )
    shape, mean, wanted = mean.shape, mean.ravel(), wanted.ravel()
    many = mean > MANY_IN_REPAIR
    spares = np.zeros(mean.shape)
    spares[many] = np.ceil(mean[many] + _normal_quantile(wanted[many]) * np.sqrt(mean[many]))
    left, count = np.flatnonzero(~many), 0
    term = np.exp(-mean[left])
    total = term.copy()
    while (short := np.flatnonzero(total < wanted[left] * (1.0 - 1e-12))).size:
        count += 1
        left, term = left[short], term[short] * mean[left[short]] / count
        total = total[short] + term
        spares[left] = count
    return spares.reshape(shape)


def waiting_share(in_repair: Column, spares: Column) -> Column:
    """Share of time in which a job waits for a repair, because a server more than there are spares is in repair.

    While it waits nothing of it fails: of servers that fail as long as there is a spare, the next one is lost. That is
    Erlang's loss system with ``spares + 1`` places, whatever the law of repair times (Erlang 1917; Sevastyanov 1957).

    Args:
        in_repair: servers at work times failures of one per second of running times seconds of a repair.
        spares: spare servers, whole numbers.

    One server that fails as often as it is repaired, and no spare, stands still half of the time:

    >>> float(waiting_share(np.asarray(1.0), np.asarray(0.0))), float(waiting_share(np.asarray(1.0), np.asarray(1.0)))
    (0.5, 0.2)
    """
    load, places = np.broadcast_arrays(np.asarray(in_repair, dtype=np.float64), spares + 1.0)
    lost = np.ones(load.shape)
    share = lost
    for place in range(1, int(np.max(places, initial=0.0)) + 1):
        lost = load * lost / (place + load * lost)
        share = np.where(places == place, lost, share)
    return share


_normal_quantile = np.vectorize(NormalDist().inv_cdf, otypes=[np.float64])

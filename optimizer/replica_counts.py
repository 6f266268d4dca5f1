"""Data-parallel degrees of a space: counted without being listed, and listed where the search comes to them."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from costmodels.columns import Column
from optimizer.space_rules import MAX_MICRO_BATCH
from optimizer.whole_numbers import divisors, powers_of_two


class BatchDivisors:
    """Over how many replicas a global batch divides, within a tolerance: one table for all sites of a job.

    Args:
        global_batch: sequences of a step.
        tolerance: share by which it may differ.
        limit: most accelerators of any site.
    """

    def __init__(self, global_batch: int, tolerance: float, limit: int) -> None:
        self.global_batch, self.tolerance = global_batch, tolerance
        self.sequences = math.floor(global_batch * (1 + tolerance))
        # No more replicas than sequences, however many accelerators there may be.
        self._most = min(limit, self.sequences)
        self._divides: dict[int, NDArray[np.bool_]] = {}
        self._counts: dict[int, NDArray[np.int64]] = {}
        self._by_server: dict[int, NDArray[np.int64]] = {}

    def micro_batches(self, dp: Column, micro_batch: Column) -> Column:
        """Micro-batches per replica and step: the global batch, rounded to what divides."""
        return np.maximum(np.round(self.global_batch / (dp * micro_batch)), 1.0)

    def divides(self, micro_batch: int) -> NDArray[np.bool_]:
        """Whether the batch divides over each number of replicas, from none up."""
        if micro_batch not in self._divides:
            dp = np.arange(self._most + 1, dtype=np.float64)
            with np.errstate(divide="ignore", invalid="ignore"):
                used = self.micro_batches(dp, np.asarray(float(micro_batch))) * dp * micro_batch
            divides = np.abs(used - self.global_batch) <= self.tolerance * self.global_batch
            divides[0] = False
            self._divides[micro_batch] = divides
        return self._divides[micro_batch]

    def counts(self, server: int) -> NDArray[np.int64]:
        """How many numbers of replicas up to each divide the batch and are a multiple of ``server`` over a divisor.

        Returns:
            Shape (micro-batches, divisors of ``server``, replicas).
        """
        if server not in self._by_server:
            every = [self._multiples(server // common) for common in divisors(server)]
            self._by_server[server] = np.stack(every, axis=1)
        return self._by_server[server]

    def _multiples(self, step: int) -> NDArray[np.int64]:
        """The same for multiples of ``step``, shape (micro-batches, replicas)."""
        if step not in self._counts:
            multiple = np.arange(self._most + 1) % step == 0
            sizes = powers_of_two(min(MAX_MICRO_BATCH, self.global_batch))
            self._counts[step] = np.stack([np.cumsum(self.divides(size) & multiple) for size in sizes])
        return self._counts[step]


class ReplicaCounts:
    """Data-parallel degrees for a number of ranks per replica and a micro-batch: how many, and which.

    A degree is in the space if the cluster has whole servers (or is part of one) within the limit, and the global
    batch divides over the replicas and micro-batches within the tolerance.
    """

    def __init__(self, batch: BatchDivisors, server: int, limit: int) -> None:
        self.server, self.limit = server, limit
        self._batch, self._sequences = batch, batch.sequences
        self._most = min(limit, self._sequences)
        shared = divisors(server)
        self._step_index = np.zeros(server + 1, dtype=np.int64)
        self._step_index[shared] = np.arange(len(shared))
        self._values: dict[int, NDArray[np.float64]] = {}

    def most(self, micro_batch: Column) -> Column:
        """Most replicas that the batch can be spread over, however many accelerators there may be."""
        return np.maximum(np.floor(self._sequences / micro_batch), 1.0)

    def micro_batches(self, dp: Column, micro_batch: Column) -> Column:
        """As :meth:`BatchDivisors.micro_batches`."""
        return self._batch.micro_batches(dp, micro_batch)

    def sequences(self, dp: Column, micro_batch: Column) -> Column:
        """Sequences that a step trains: the global batch, within the tolerance."""
        return self.micro_batches(dp, micro_batch) * dp * micro_batch

    def micro_batches_of(self, dp: int, micro_batch: int) -> int:
        """As :meth:`micro_batches`, for one pair of whole numbers."""
        return int(self.micro_batches(np.asarray(float(dp)), np.asarray(float(micro_batch))))

    def values(self, world: int, micro_batch: int) -> NDArray[np.float64]:
        """The degrees for replicas of ``world`` ranks."""
        most = min(self.limit // world, self._most)
        divides = self._batch.divides(micro_batch)[: most + 1]
        step = self.server // math.gcd(world, self.server)
        whole = np.zeros(most + 1, dtype=bool)
        whole[::step] = True
        whole[: (self.server - 1) // world + 1] = True
        whole[0] = False
        return np.flatnonzero(divides & whole).astype(np.float64)

    def listed(self, world: Column, micro_batch: Column) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """The degrees of many replicas, ascending, end to end in one array, and where each replica's list begins."""
        pairs, place = np.unique(world * MAX_MICRO_BATCH * 2 + micro_batch, return_inverse=True)
        lists = []
        for pair in pairs.astype(np.int64):
            key = int(pair)
            if key not in self._values:
                self._values[key] = self.values(*divmod(key, MAX_MICRO_BATCH * 2))
            lists.append(self._values[key])
        begins = np.cumsum([0, *(len(one) for one in lists[:-1])])
        return np.concatenate(lists), begins[place]

    def count(self, world: NDArray[np.int64], micro_batch: NDArray[np.int64]) -> NDArray[np.int64]:
        """How many degrees there are, for arrays of worlds and micro-batches (powers of two)."""
        most = np.minimum(self.limit // world, self._most)
        row = np.round(np.log2(micro_batch)).astype(np.int64)
        step = self._step_index[np.gcd(world, self.server)]
        every = self._step_index[self.server]
        partial = np.minimum((self.server - 1) // world, most)
        table = self._batch.counts(self.server)
        # Clusters smaller than one server are never a multiple of it, so nothing is counted twice.
        counts: NDArray[np.int64] = table[row, step, most] + table[row, every, partial]
        return counts

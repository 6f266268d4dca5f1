"""Checkpoints, data and energy of a run: plain arithmetic that capacity planning needs."""

from __future__ import annotations

import numpy as np

from costmodels.columns import Column
from costmodels.recipe import Recipe
from costmodels.run import DAY_S


def checkpoint_bytes(params: Column, r: Recipe) -> Column:
    """Bytes of one checkpoint that training can go on from: weights, master copy and optimizer state.

    Gradients are not saved. Where a master copy exists, the working weights are saved beside it, as Megatron-LM does.

    >>> from costmodels.envelope import STATE_RECIPES
    >>> float(checkpoint_bytes(np.asarray(70e9), STATE_RECIPES["fp32-gradients"])) / 1e9
    980.0
    """
    return params * (r.parameter_bytes + r.master_bytes + r.moment_bytes)


def checkpoint_seconds(
    size_bytes: Column, servers: Column, server_bytes_per_s: Column, store_bytes_per_s: Column
) -> Column:
    """Seconds to write a checkpoint in parallel from all servers to a shared store: the slower of the two decides.

    >>> float(checkpoint_seconds(np.asarray(980e9), np.asarray(128.0), np.asarray(5e9), np.asarray(100e9)))
    9.8
    """
    return size_bytes / np.minimum(servers * server_bytes_per_s, store_bytes_per_s)


def store_bytes(kept_bytes: Column, bytes_per_s: Column, most_bytes_per_s_per_byte: Column) -> Column:
    """Capacity of a store that keeps so much and takes so much per second: the larger of the two needs.

    >>> float(store_bytes(np.asarray(27e12), np.asarray(100e9), np.asarray(1e9 / 1e12))) / 1e12
    100.0
    """
    return np.maximum(kept_bytes, bytes_per_s / most_bytes_per_s_per_byte)


def store_rent_usd(
    capacity_bytes: Column,
    bytes_per_s: Column,
    usd_per_byte: Column,
    included_bytes_per_s_per_byte: Column,
    usd_per_byte_per_s: Column,
) -> Column:
    """Rent of a store: its capacity, and the bandwidth beyond what comes with that.

    100 TB for 135 USD each with 0.1 GB/s per TB; of 100 GB/s, 90 are paid for at 500 USD:

    >>> float(store_rent_usd(100e12, np.asarray(100e9), 135 / 1e12, 0.1e9 / 1e12, 500 / 1e9).round(2))
    58500.0
    """
    beyond = np.maximum(bytes_per_s - capacity_bytes * included_bytes_per_s_per_byte, 0.0)
    return capacity_bytes * usd_per_byte + beyond * usd_per_byte_per_s


def dataset_bytes(tokens: Column, vocab: Column) -> Column:
    """Bytes of tokenised data: two bytes per token up to a vocabulary of 65,536, else four (Megatron-LM's rule).

    >>> float(dataset_bytes(np.asarray(15e12), np.asarray(128256.0))) / 1e12
    60.0
    """
    return tokens * np.where(vocab <= 65536, 2.0, 4.0)


def loading_bytes_per_s(tokens_per_s: Column, vocab: Column) -> Column:
    """Bytes per second of tokenised data that the whole cluster reads while training."""
    return dataset_bytes(tokens_per_s, vocab)


def tokens_per_day(tokens_per_s: Column, goodput: Column) -> Column:
    """Tokens trained in a day of wall-clock time, of which ``goodput`` makes progress.

    >>> float(tokens_per_day(np.asarray(1e6), np.asarray(0.9))) / 1e9
    77.76
    """
    return tokens_per_s * goodput * DAY_S


def joules_per_token(servers: Column, server_w: Column, pue: Column, tokens_per_s: Column, goodput: Column) -> Column:
    """Energy per trained token: rated draw of the servers with the facility's overhead (PUE), over useful tokens.

    >>> float(joules_per_token(np.asarray(1.0), np.asarray(10e3), np.asarray(1.2), np.asarray(8e4), np.asarray(0.9)))
    0.16666666666666666
    """
    return servers * server_w * pue / (tokens_per_s * goodput)

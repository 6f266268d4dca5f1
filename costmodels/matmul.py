"""Seconds of one matrix product from its shape: tiles, waves, memory roof."""

from __future__ import annotations

import numpy as np

from costmodels.columns import Column

TILES: tuple[tuple[float, float, float], ...] = ((256.0, 128.0, 1.0), (128.0, 128.0, 0.92), (64.0, 128.0, 0.75))
"""Output tiles a library chooses among: rows, columns, and the rate of that tile against the largest one."""


ALIGNED_ELEMENTS = 8.0
"""Matrix units load 16 bytes, 8 half-precision elements, at a time."""

UNALIGNED_RATE = 0.4
"""Rate of a product with a width that is not a multiple of :data:`ALIGNED_ELEMENTS` (a vocabulary of 50257, say)."""

LINE_ELEMENTS = 64.0
"""Rows of a whole memory line, 128 bytes, are read best: 64 half-precision elements."""

HALF_LINE_RATE = 0.9
"""What each halving costs of the largest power of two, up to :data:`LINE_ELEMENTS`, that divides a width."""


def alignment(width: Column) -> Column:
    """Rate of a product with this width over that of one whose rows start at aligned addresses.

    Source: NVIDIA, *Matrix Multiplication Background User's Guide*, tensor core requirements: multiples of 16 bytes are
    needed, of 128 bytes most efficient on A100.

    >>> alignment(np.asarray([1792.0, 1800.0, 50257.0]))
    array([1.   , 0.729, 0.4  ])
    """
    elements = np.round(width)
    halvings = np.zeros(())
    multiple = LINE_ELEMENTS
    while multiple > ALIGNED_ELEMENTS:
        halvings = halvings + (np.mod(elements, multiple) > 0)
        multiple /= 2.0
    return np.where(np.mod(elements, ALIGNED_ELEMENTS) > 0, UNALIGNED_RATE, HALF_LINE_RATE**halvings)


def tile_utilisation(m: Column, n: Column, batch: Column, compute_units: Column) -> Column:
    """Share of the compute units' work that is useful, after padding to tiles and rounding up to whole waves.

    The library's choice among :data:`TILES` is taken to be the best one. Unknown unit count (0) gives 1.

    Args:
        m: rows of the output of one product.
        n: its columns.
        batch: independent products of that shape launched together.
        compute_units: SMs / CUs / cores of the device.

    Returns:
        Broadcast column in (0, 1]. Source: NVIDIA, *Matrix Multiplication Background User's Guide*, tile and wave
        quantization.
    """
    units = np.maximum(compute_units, 1.0)
    best = np.zeros(())
    for rows, columns, rate in TILES:
        # The larger side of the output takes the longer side of the tile: libraries ship both orientations.
        for tile_m, tile_n in {(rows, columns), (columns, rows)}:
            waves = np.maximum(np.ceil(np.ceil(m / tile_m) * np.ceil(n / tile_n) * batch / units), 1.0)
            best = np.maximum(best, rate / (tile_m * tile_n) / waves)
    return np.where(compute_units > 0, best * (m * n * batch) / units, 1.0)


def matmul_seconds(
    m: Column,
    n: Column,
    k: Column,
    batch: Column,
    *,
    flops_per_s: Column,
    bytes_per_s: Column,
    compute_units: Column,
    element_bytes: Column,
) -> Column:
    """Seconds of ``batch`` products (m×k)·(k×n): the slower of arithmetic and memory traffic.

    Args:
        m: rows of one product; 0 in any of the three sizes gives 0 seconds.
        n: its columns.
        k: width of the sums.
        batch: independent products launched together (experts of a grouped matmul).
        flops_per_s: rate a large, well-shaped product reaches.
        bytes_per_s: achieved memory bandwidth.
        compute_units: for wave quantisation (0 = unknown).
        element_bytes: of the operands; the output is written in two bytes.

    Returns:
        Seconds, broadcast. Source: roofline (Williams et al. 2009) with tile and wave quantisation.
    """
    flops = 2.0 * m * n * k * batch
    useful = np.maximum(tile_utilisation(m, n, batch, compute_units), 1e-3)
    arithmetic = flops / (flops_per_s * useful)
    traffic = batch * (element_bytes * (m * k + k * n) + 2.0 * m * n) / bytes_per_s
    return np.where(flops > 0, np.maximum(arithmetic, traffic), 0.0)


def linear_seconds(
    tokens: Column,
    width_in: Column,
    width_out: Column,
    batch: Column,
    *,
    flops_per_s: Column,
    bytes_per_s: Column,
    compute_units: Column,
    element_bytes: Column,
) -> tuple[Column, Column, Column]:
    """Forward, input-gradient and weight-gradient seconds of a linear layer on ``tokens`` rows."""
    rate = {
        "flops_per_s": flops_per_s * alignment(width_in) * alignment(width_out),
        "bytes_per_s": bytes_per_s,
        "compute_units": compute_units,
        "element_bytes": element_bytes,
    }
    forward = matmul_seconds(tokens, width_out, width_in, batch, **rate)
    input_gradient = matmul_seconds(tokens, width_in, width_out, batch, **rate)
    weight_gradient = matmul_seconds(width_in, width_out, tokens, batch, **rate)
    return forward, input_gradient, weight_gradient

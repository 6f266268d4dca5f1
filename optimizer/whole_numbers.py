"""Divisors and powers of two, of which degrees are made."""

from __future__ import annotations

import math


def divisors(number: int) -> list[int]:
    """All divisors in ascending order.

    >>> divisors(12)
    [1, 2, 3, 4, 6, 12]
    """
    small = [d for d in range(1, math.isqrt(number) + 1) if number % d == 0]
    return small + [number // d for d in reversed(small) if d * d != number]


def powers_of_two(limit: float) -> list[int]:
    """Powers of two up to ``limit``, at least 1.

    >>> powers_of_two(10)
    [1, 2, 4, 8]
    """
    return [2**i for i in range(max(int(math.log2(max(limit, 1.0))), 0) + 1)]

"""Exact largest members of a grid: by bisection where the answer is monotone, by enumeration where it need not be."""

from __future__ import annotations

from collections.abc import Callable


def largest_monotone(low: int, high: int, holds: Callable[[int], bool]) -> int | None:
    """The largest whole number in ``low``..``high`` for which ``holds``, which is true up to a point and false after.

    >>> largest_monotone(1, 1000, lambda n: n * n <= 500)
    22
    >>> largest_monotone(5, 10, lambda n: False) is None
    True
    """
    if high < low or not holds(low):
        return None
    step = 1
    while low + step <= high and holds(low + step):
        low, step = low + step, 2 * step
    beyond = min(low + step, high + 1)
    while beyond - low > 1:
        middle = (low + beyond) // 2
        low, beyond = (middle, beyond) if holds(middle) else (low, middle)
    return low


def smallest_monotone(low: int, high: int, holds: Callable[[int], bool]) -> int | None:
    """The smallest whole number in ``low``..``high`` for which ``holds``, which is false up to a point and true after.

    >>> smallest_monotone(1, 1000, lambda n: n * n >= 500)
    23
    >>> smallest_monotone(1, 10, lambda n: n > 10) is None
    True
    """
    if high < low or not holds(high):
        return None
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if holds(middle) else (middle + 1, high)
    return low


def largest_of(low: int, high: int, holds: Callable[[int], bool]) -> int | None:
    """The largest whole number in ``low``..``high`` for which ``holds``, which may fail in between.

    Bisection finds a number that holds; everything above it up to ``high`` is then looked at, from the top.

    >>> largest_of(1, 20, lambda n: n in (1, 2, 3, 7))
    7
    """
    found = largest_monotone(low, high, holds)
    for number in range(high, (low - 1) if found is None else found, -1):
        if holds(number):
            return number
    return found

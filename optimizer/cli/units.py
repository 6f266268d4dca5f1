"""Units of record fields, read off the field names, and numbers written for people."""

from __future__ import annotations

from math import isfinite

_SUFFIXES = {
    "bytes_per_s_per_accelerator": "B/s per accelerator",
    "bytes_per_s": "B/s",
    "flops_per_s": "FLOP/s",
    "per_doubling": "share per doubling",
    "bytes": "B",
    "tokens": "tokens",
    "params": "parameters",
    "efficiency": "share of peak",
    "overlap": "share",
    "usd": "USD",
    "s": "s",
    "w": "W",
}
_NAMES = {"seq": "tokens", "window": "tokens", "fragmentation": "share", "year": ""}
_PREFIXES = ((1e18, "E"), (1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))
_SMALL = ((1.0, "s"), (1e-3, "ms"), (1e-6, "us"), (1e-9, "ns"))
_PREFIXED = ("B", "B/s", "FLOP/s", "W", "B/s per accelerator")


def unit_of(field: str) -> str:
    """The unit that a field's name carries, or nothing.

    A dotted name is looked up from its last part outwards, so that ``peak_flops_per_s.bf16`` has the unit of its table.

    >>> unit_of("memory_bandwidth_bytes_per_s"), unit_of("peak_flops_per_s.bf16"), unit_of("heads")
    ('B/s', 'FLOP/s', '')
    """
    for part in reversed(field.split(".")):
        if part in _NAMES:
            return _NAMES[part]
        for suffix, unit in _SUFFIXES.items():
            if part == suffix or part.endswith(f"_{suffix}"):
                return unit
    return ""


def readable(value: object, unit: str) -> str:
    """A value as a person reads it: four significant digits and a decimal prefix where the unit takes one.

    >>> readable(3.35e12, "B/s"), readable(80e9, "B"), readable(5e-06, "s"), readable(32000, "tokens")
    ('3.35 TB/s', '80 GB', '5 us', '32,000 tokens')
    """
    if isinstance(value, bool):
        return "yes" if value else "no"
    if not isinstance(value, int | float) or not isfinite(value):
        return str(value)
    if unit in _PREFIXED:
        scale, prefix = next(((s, p) for s, p in _PREFIXES if abs(value) >= s), (1.0, ""))
        return f"{value / scale:.4g} {prefix}{unit}"
    if unit == "s" and value:
        scale, name = next(((s, n) for s, n in _SMALL if abs(value) >= s), _SMALL[-1])
        return f"{value / scale:.4g} {name}"
    if unit == "parameters":
        return f"{value / 1e9:,.4g}B"
    return f"{exact(value)} {unit}".rstrip()


def exact(value: float) -> str:
    """A number with all its digits; whole ones from five digits on are grouped by thousands.

    >>> exact(85899345920.0), exact(0.62), exact(2023)
    ('85,899,345,920', '0.62', '2023')
    """
    if value != int(value):
        return repr(value)
    return f"{int(value):,}" if abs(value) >= 10_000 else str(int(value))

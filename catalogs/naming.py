"""Names nobody knows: the one message for them, with the nearest known ones."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def unknown_name(what: str, name: str, known: Iterable[str]) -> str:
    """The message for a name nobody knows, with the nearest ones.

    >>> unknown_name("accelerator", "h10-sxm", ["a100-sxm", "h100-sxm"])
    "unknown accelerator 'h10-sxm'; did you mean h100-sxm, a100-sxm?"
    """
    names = sorted(known)
    near = difflib.get_close_matches(name.lower(), names, n=3, cutoff=0.5)
    near = near or ([n for n in names if name.lower() in n][:3] if name else [])
    if near:
        return f"unknown {what} {name!r}; did you mean {', '.join(near)}?"
    return f"unknown {what} {name!r}; known: {', '.join(names[:12]) or 'none'}{'…' if names[12:] else ''}"

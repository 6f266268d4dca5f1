"""Names of records: one made of a title or a file, and the message for one nobody knows, with the nearest known."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path


def unknown_name(what: str, name: str, known: Iterable[str]) -> str:
    """The message for a name nobody knows, with the nearest ones.

    >>> unknown_name("accelerator", "h10-sxm", ["a100-sxm", "h100-sxm"])
    "unknown accelerator 'h10-sxm'; did you mean h100-sxm, a100-sxm?"
    >>> unknown_name("accelerator", "H100", ["b100", "h100-sxm"])
    "unknown accelerator 'H100'; did you mean h100-sxm, b100?"
    """
    names = sorted(known)
    spelled = difflib.get_close_matches(name.lower(), names, n=3, cutoff=0.5)
    containing = [known for known in names if name and name.lower() in known.lower()]
    near = list(dict.fromkeys([*containing[:3], *spelled]))[:3]
    if near:
        return f"unknown {what} {name!r}; did you mean {', '.join(near)}?"
    return f"unknown {what} {name!r}; known: {', '.join(names[:12]) or 'none'}{'…' if names[12:] else ''}"


def slug(title: str) -> str:
    """A record name made of a title.

    >>> slug("Llama 2 (70B)")
    'llama-2-70b'
    """
    return re.sub(r"[^a-z0-9._+]+", "-", title.lower()).strip("._+-") or "model"


def file_date(path: Path) -> str:
    """The day on which a file was last written, ``YYYY-MM-DD`` in UTC."""
    return datetime.fromtimestamp(path.stat().st_mtime, UTC).date().isoformat()

"""What a launch file says, in this project's own terms."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from catalogs.errors import UsageError


@dataclass
class Launch:
    """A launch file as read so far.

    Attributes:
        kind: ``megatron``, ``deepspeed``, ``torchtitan`` or ``nemo``.
        framework: catalog name of the framework it is for.
        settings: what was understood: degrees, batch, sequence, precision, recomputation; keys as in ``estimate``.
        model: fields of the architecture that the file gives.
        model_name: name of the model, where the file has one.
        used: arguments that ``settings`` and ``model`` come from, as written.
        beside: known arguments without influence on memory or time of a step (learning rate, paths, logging).
        unknown: arguments that nobody here knows: never dropped silently.
        notes: what was assumed in reading.
    """

    kind: str
    framework: str
    settings: dict[str, Any] = field(default_factory=dict)
    model: dict[str, Any] = field(default_factory=dict)
    model_name: str | None = None
    used: list[str] = field(default_factory=list)
    beside: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """The object of the documented schema."""
        return dict(self.__dict__)

    def degree(self, name: str) -> int:
        """A parallel degree, 1 where the file is silent."""
        return int(self.settings.get(name, 1))

    def replicas(self, accelerators: int | None) -> int:
        """Data-parallel degree on a cluster of so many accelerators (None: what the file says).

        Raises:
            UsageError: nobody says how many there are, or the degrees do not divide them.
        """
        if accelerators is None and "dp" in self.settings:
            return int(self.settings["dp"])
        total = accelerators or self.settings.get("accelerators")
        if total is None:
            raise UsageError("the launch file does not say how many accelerators there are; give --accelerators")
        ranks = math.prod(self.degree(name) for name in ("tp", "pp", "cp"))
        if total % ranks:
            raise UsageError(f"{total} accelerators do not divide into replicas of {ranks} (tensor·pipeline·context)")
        return int(total // ranks)


def whole(text: object, what: str) -> int:
    """A whole number above zero of a launch file.

    Raises:
        UsageError: it is none; a shell variable without a value is told apart.
    """
    if isinstance(text, str) and "$" in text:
        raise UsageError(f"{what} is {text}, which the file gives no value; replace it by a number")
    try:
        number = float(str(text).replace("_", "").replace(",", ""))
    except ValueError:
        number = math.nan
    if not number > 0 or number != int(number):
        raise UsageError(f"{what} must be a whole number above zero, not {text!r}")
    return int(number)


def flag(text: object, what: str) -> bool:
    """A truth value of a launch file.

    Raises:
        UsageError: it is none.
    """
    known = {"true": True, "1": True, "false": False, "0": False}
    if str(text).lower() not in known:
        raise UsageError(f"{what} must be true or false, not {text!r}")
    return known[str(text).lower()]


def flatten(tree: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, Any]]:
    """The leaves of nested mappings with dotted names, in order.

    >>> list(flatten({"a": {"b": 1}, "c": 2}))
    [('a.b', 1), ('c', 2)]
    """
    for name, value in tree.items():
        if isinstance(value, Mapping) and value:
            yield from flatten(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value

"""The one data type of the cost models: float64 columns that broadcast with each other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

Column = NDArray[np.float64]
"""A float64 array of any shape (0-d for one value) that broadcasts with the other columns."""


def nothing() -> Column:
    """0: of what is not there."""
    return np.zeros(())


class Columns:
    """Base of the frozen dataclasses whose fields are all :data:`Column`."""

    @classmethod
    def from_values(cls, **values: object) -> Self:
        """The bundle with every value as a float64 array (scalars become 0-d); nested bundles are taken as they are."""
        return cls(
            **{
                name: value if isinstance(value, Columns) else np.asarray(value, dtype=np.float64)
                for name, value in values.items()
            }
        )

    @classmethod
    def stack(cls, items: Sequence[Self]) -> Self:
        """One bundle with a new first axis (0-d columns: shape ``(len(items),)``), nested bundles included."""

        def stacked(values: list[Any]) -> Any:
            if values[0] is None:
                return None
            return type(values[0]).stack(values) if isinstance(values[0], Columns) else np.array(values)

        return cls(**{name: stacked([getattr(item, name) for item in items]) for name in cls.names()})

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """The field names, in order."""
        return tuple(cls.__dataclass_fields__)  # type: ignore[attr-defined]

    def map(self, function: Callable[[Column], Any]) -> Self:
        """The bundle with ``function`` (an index, a reshape) applied to every column, nested bundles included.

        A nested bundle that is absent (None) stays absent.
        """

        def apply(value: Any) -> Any:
            if value is None:
                return None
            return value.map(function) if isinstance(value, Columns) else function(value)

        return type(self)(**{name: apply(getattr(self, name)) for name in self.names()})

"""What every catalog record has: a name, and a source and date for its numbers."""

from __future__ import annotations

import datetime
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator


def _date_text(value: object) -> object:
    """A date as text, whether or not it stood in quotes (YAML reads a bare 2025-01-31 as a date, 2025 as a number)."""
    if isinstance(value, datetime.date) and not isinstance(value, datetime.datetime):
        return value.isoformat()
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


class Record(BaseModel):
    """A named, immutable, sourced entry of a catalog.

    Attributes:
        name: the slug by which users and other records refer to the entry.
        title: the name as a person writes it.
        sources: field name (or ``"*"`` for all remaining fields) to URL or citation.
        date: when the numbers were read or valid, ``YYYY``, ``YYYY-MM`` or ``YYYY-MM-DD``.
        estimated: names of fields that are estimates, not published figures.
        notes: anything a reader must know before using the numbers.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9._+-]*$")
    title: str = ""
    sources: dict[str, str]
    date: Annotated[str, BeforeValidator(_date_text)] = Field(
        pattern=r"^\d{4}(-(0[1-9]|1[0-2])(-(0[1-9]|[12]\d|3[01]))?)?$"
    )
    estimated: tuple[str, ...] = ()
    notes: str = ""

    @model_validator(mode="after")
    def _sources_name_fields(self) -> Record:
        fields = type(self).model_fields
        for named, where in ((tuple(self.sources), "sources"), (self.estimated, "estimated")):
            unknown = [n for n in named if n != "*" and n.split(".")[0] not in fields]
            if unknown:
                raise ValueError(f"{where} names {', '.join(unknown)}, which this record does not have")
        if "*" not in self.sources:
            numbers = {n for n, v in self if _holds_numbers(v)}
            missing = sorted(numbers - {"sources"} - {n.split(".")[0] for n in self.sources})
            if missing:
                raise ValueError(f"no source for {', '.join(missing)}; add them (or '*') to sources")
        uncited = sorted(n for n, citation in self.sources.items() if not citation.strip())
        if uncited:
            raise ValueError(f"the source of {', '.join(uncited)} is empty; cite where the number was read")
        return self


def _holds_numbers(value: object) -> bool:
    """Whether a field needs a source: numbers and what is made of them, but neither flags nor text."""
    return isinstance(value, int | float | dict | BaseModel) and not isinstance(value, bool)

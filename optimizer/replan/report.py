"""A night in words: for the terminal, a file, and a manager."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from optimizer.replan.history import Night
from optimizer.replan.offer_key import offer_words, price_unit
from optimizer.replan.verdict import Verdict

NEWS_LINES, NOTE_LINES = 30, 5
"""Lines of a message; files have all."""


@dataclass(frozen=True)
class Delivery:
    """What became of the messages of a channel.

    Attributes:
        channel: its name.
        sent: messages delivered now.
        waiting: messages that the next run tries again.
        error: why they wait.
    """

    channel: str
    sent: int
    waiting: int
    error: str = ""

    def to_json(self) -> dict[str, str | int]:
        """All fields."""
        return {"channel": self.channel, "sent": self.sent, "waiting": self.waiting, "error": self.error}


_HEADLINE = {"keep": "to keep, with news", "warn": "at risk"}
"""Verdicts whose name alone would not tell a manager why it is news."""


def headline(night: Night, news: Sequence[Verdict]) -> str:
    """One line: what the night brings."""
    if not news:
        waiting = sum(one.target is not None for one in night.verdicts)
        return f"{night.as_of}: nothing new" + (f"; {waiting} advised before still to be done" if waiting else "")
    kinds = [one.kind for one in news]
    counts = ", ".join(f"{kinds.count(kind)} {_HEADLINE.get(kind, kind)}" for kind in dict.fromkeys(kinds))
    saving = sum(one.saving_usd or 0.0 for one in news if one.kind in ("switch", "resize"))
    return f"{night.as_of}: {counts}" + (f"; saves {saving:,.0f} USD" if saving else "")


def sentence(one: Verdict) -> str:
    """A verdict in one line, with the price at which it would change."""
    return f"{one.job}: {one.kind}: {one.reason}" + (f"; {flip(one)}" if flip(one) else "")


def flip(one: Verdict) -> str:
    """The price at which a verdict would change, in words (nothing where there is none)."""
    if not one.flips_at or one.flips_key is None:
        return ""
    way = "above" if one.flips_above else "below"
    return f"changes when {offer_words(one.flips_key)} is {way} {one.flips_at:.4g} {price_unit(one.flips_key)}"


def document(night: Night, news: Sequence[Verdict], *, repeated: bool = False) -> dict[str, Any]:
    """A night as JSON."""
    return {
        "as_of": night.as_of.isoformat(),
        "headline": headline(night, news),
        "repeated": repeated,
        "exit_code": night.exit_code,
        "inputs": night.inputs,
        "tool": night.tool,
        "news": [one.job for one in news],
        "verdicts": [one.to_json() for one in night.verdicts],
        "notes": list(night.notes),
        "sources": [
            {"source": s.source, "date": s.book.date, "offers": len(s.book.quotes), "fresh": s.fresh}
            for s in night.sources
        ],
    }  # fmt: skip


def text(night: Night, shown: Sequence[Verdict], news: Sequence[Verdict]) -> str:
    """A night as plain text."""
    return "\n".join([headline(night, news), *map(sentence, shown), *(f"note: {one}" for one in night.notes)]) + "\n"


def brief(night: Night, news: Sequence[Verdict]) -> str:
    """The news as a message: what matters first, long lists cut off with their count."""
    notes = [f"note: {one}" for one in night.notes]
    lines = [headline(night, news), *_cut([sentence(one) for one in news], NEWS_LINES), *_cut(notes, NOTE_LINES)]
    return "\n".join(lines) + "\n"


def _cut(lines: list[str], count: int) -> list[str]:
    left = len(lines) - count
    return lines if left <= 0 else [*lines[:count], f"and {left} more"]


def print_night(
    night: Night,
    news: Sequence[Verdict],
    *,
    as_json: bool,
    repeated: bool = False,
    deliveries: Sequence[Delivery] = (),
) -> None:
    """Print a night, and as JSON also what became of its messages."""
    from optimizer.cli.output import emit_json, print_line

    if as_json:
        emit_json(document(night, news, repeated=repeated) | {"messages": [one.to_json() for one in deliveries]})
        return
    if repeated:
        print_line(f"the same jobs and prices as night {night.id}: nothing changed, nothing recorded")
    for line in text(night, night.verdicts, news).splitlines():
        print_line(line)


def print_deliveries(deliveries: Sequence[Delivery]) -> None:
    """Say on standard error which messages wait, and why."""
    from optimizer.cli.output import warn

    for one in deliveries:
        if one.error:
            left = f"; {one.waiting} message(s) wait for the next run" if one.waiting else ""
            warn(f"{one.channel}: {one.error}{left}")

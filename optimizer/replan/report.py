"""A night in words: for the terminal, a file, and a manager."""

from __future__ import annotations

import html
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from optimizer.replan.decide import Verdict
from optimizer.replan.history import Night


def headline(night: Night, news: Sequence[Verdict]) -> str:
    """One line: what the night brings."""
    if not news:
        return f"{night.as_of}: nothing to do; {len(night.verdicts)} plans stand"
    kinds = [one.kind for one in news]
    counts = ", ".join(f"{kinds.count(kind)} {kind}" for kind in dict.fromkeys(kinds))
    saving = sum(one.saving_usd or 0.0 for one in news if one.kind in ("switch", "resize"))
    return f"{night.as_of}: {counts}" + (f"; saves {saving:,.0f} USD" if saving else "")


def sentence(one: Verdict) -> str:
    """A verdict in one line, with the price at which it would change."""
    flips = ""
    if one.flips_at is not None and one.flips_key is not None:
        way = "above" if one.kind in ("switch", "resize") else "below"
        provider, region, instance, _, _, tenure = one.flips_key.split("|")
        flips = f"; changes when {provider} {region} {instance} {tenure} is {way} {one.flips_at:.4g} USD"
    return f"{one.job}: {one.kind}: {one.reason}{flips}"


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


def print_night(night: Night, news: Sequence[Verdict], *, as_json: bool, repeated: bool = False) -> None:
    """Print a night."""
    from optimizer.cli.output import emit_json, print_line

    if as_json:
        emit_json(document(night, news, repeated=repeated))
        return
    if repeated:
        print_line(f"the same jobs and prices as night {night.id}: nothing changed, nothing recorded")
    for line in text(night, night.verdicts, news).splitlines():
        print_line(line)


def write_report(path: Path, night: Night, news: Sequence[Verdict]) -> None:
    """Write the news to a file; its ending says how."""
    body = text(night, news, news)
    if path.suffix == ".json":
        body = json.dumps(document(night, news), indent=2, ensure_ascii=False) + "\n"
    elif path.suffix == ".html":
        body = f"<!doctype html><meta charset=utf-8><title>clusterplan</title><pre>{html.escape(body)}</pre>\n"
    part = path.with_name(f".{path.name}.part")
    part.write_text(body, "utf-8")
    part.replace(path)

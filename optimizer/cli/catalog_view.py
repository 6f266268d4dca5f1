"""The pages of ``clusterplan catalog``: kinds, a list, one record, a check."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from catalogs import KINDS, Catalog, DataFileError, Offer, Record, UnknownNameError
from catalogs.assumption import Assumption
from catalogs.consistency import CHECKS, find_problems
from catalogs.naming import unknown_name
from optimizer.cli.output import emit_json, print_line, print_table
from optimizer.cli.units import exact, readable, unit_of

_COLUMNS = {
    "accelerators": "vendor memory_bytes memory_bandwidth_bytes_per_s peak_flops_per_s.bf16 scale_up.link",
    "servers": "accelerator accelerators scale_out_bytes_per_s_per_accelerator fabric power_w",
    "fabrics": "kind port_bytes_per_s radix oversubscription latency_s",
    "models": "family params layers hidden heads kv_heads moe.experts seq",
    "frameworks": "vendors zero_stages schedules",
    "profiles": "accelerator framework precision rows inherited_from gemm_efficiency log_sigma",
    "offers": "provider region accelerator accelerators_per_server tenure price",
    "currencies": "usd",
    "assumptions": "title value",
    "regions": "electricity_per_kwh currency carbon_kg_per_kwh",
    "trainings": "model accelerator accelerators tokens hours days",
    "interruptions": "accelerator accelerators hours_per_interruption interruptions",
}
"""What ``catalog list`` shows of each kind besides name and date."""

_PROVENANCE = ("name", "title", "sources", "date", "estimated", "notes")


def show_kinds(catalog: Catalog, *, as_json: bool) -> None:
    """How many records of each kind there are."""
    counts = {kind: len(catalog.kind(kind)) for kind in KINDS}
    if as_json:
        emit_json({"directories": [str(d) for d in catalog.directories], "records": counts})
        return
    rows = [(kind, str(count), _summary(KINDS[kind])) for kind, count in counts.items()]
    print_table(("kind", "records", "what"), rows, right="records")


def show_list(catalog: Catalog, kind: str, *, as_json: bool) -> None:
    """All records of one kind, by name."""
    kind = kind_named(kind)
    records = [record for _, record in sorted(catalog.kind(kind).items())]
    if as_json:
        emit_json({"kind": kind, "records": [record.model_dump(mode="json") for record in records]})
        return
    columns = _COLUMNS[kind].split()
    rows = []
    for record in records:
        fields = dict(_flat(record.model_dump()))
        rows.append((record.name, *(_cell(fields.get(c), _unit(record, c)) for c in columns), record.date))
    numeric = " ".join(c for c in columns if _is_numeric(c, records))
    print_table(("name", *columns, "date"), rows, right=numeric)


def show_one(catalog: Catalog, kind: str, name: str, *, as_json: bool) -> None:
    """Every field of one record: value, unit, source, and whether it is an estimate."""
    kind = kind_named(kind)
    record = catalog.find(kind, name)
    fields = [(field, value) for field, value in _flat(record.model_dump()) if field.split(".")[0] not in _PROVENANCE]
    if as_json:
        units = {field: unit for field, _ in fields if (unit := _unit(record, field))}
        emit_json({"kind": kind, "record": record.model_dump(mode="json"), "units": units})
        return
    citations = list(dict.fromkeys(record.sources.values()))
    rows = []
    for field, value in fields:
        unit = _unit(record, field)
        citation = None if value is None else _citation(record, field)
        rows.append(
            (
                field,
                _cell(value, unit),
                exact(value) if isinstance(value, int | float) and not isinstance(value, bool) else "",
                unit,
                f"[{citations.index(citation) + 1}]" if citation else "",
                "estimated" if value is not None and _is_estimated(record, field) else "",
            )
        )
    print_table(
        ("field", "value", "exactly", "unit", "source", ""),
        rows,
        title=f"{record.name}  {record.title}  ({record.date})",
        right="value exactly",
    )
    for number, citation in enumerate(citations, start=1):
        print_line(f"[{number}] {citation}")
    if record.notes:
        print_line(f"\n{record.notes}")


def show_check(catalog: Catalog, *, as_json: bool) -> bool:
    """Counts and problems; returns whether there are none of the latter."""
    problems = find_problems(catalog)
    counts = {kind: _count(catalog, kind) for kind in KINDS}
    if as_json:
        emit_json({"records": counts, "checks": len(CHECKS), "problems": problems})
        return not problems
    rows = [(kind, "broken" if count is None else str(count)) for kind, count in counts.items()]
    print_table(("kind", "records"), rows, right="records")
    for problem in problems:
        print_line(f"- {problem}")
    found = f"{len(problems)} problem{'s' if len(problems) > 1 else ''}" if problems else "no problems"
    print_line(f"{found} ({len(KINDS)} kinds loaded, {len(CHECKS)} rules checked)")
    return not problems


def kind_named(text: str) -> str:
    """The catalog kind that a user's word means; the singular will do.

    >>> kind_named("Accelerator"), kind_named("currency"), kind_named("offers")
    ('accelerators', 'currencies', 'offers')
    """
    word = text.lower()
    for kind, record_type in KINDS.items():
        if word in (kind, record_type.__name__.lower()):
            return kind
    raise UnknownNameError(unknown_name("catalog kind", text, KINDS))


def _count(catalog: Catalog, kind: str) -> int | None:
    try:
        return len(catalog.kind(kind))
    except DataFileError:
        return None


def _summary(record_type: type[Record]) -> str:
    return (record_type.__doc__ or "").strip().splitlines()[0]


def _flat(fields: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Fields with those of nested tables under dotted names."""
    for name, value in fields.items():
        if isinstance(value, dict) and value:
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value


def _unit(record: Record, field: str) -> str:
    if field == "value" and isinstance(record, Assumption):
        return record.unit
    if field == "price" and isinstance(record, Offer):
        return f"{record.currency} per {record.unit.replace('_', ' ')}"
    return unit_of(field)


def _cell(value: object, unit: str) -> str:
    if value is None or value == "" or value == {} or value == ():
        return "–"
    if isinstance(value, tuple):
        return " ".join(str(item) for item in value)
    return readable(value, unit)


def _is_numeric(field: str, records: list[Record]) -> bool:
    values = [dict(_flat(record.model_dump())).get(field) for record in records[:20]]
    return any(isinstance(value, int | float) for value in values)


def _citation(record: Record, field: str) -> str | None:
    return record.sources.get(field) or record.sources.get(field.split(".")[0]) or record.sources.get("*")


def _is_estimated(record: Record, field: str) -> bool:
    return field in record.estimated or field.split(".")[0] in record.estimated or "*" in record.estimated

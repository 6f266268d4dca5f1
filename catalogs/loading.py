"""Reading catalog files into typed records, with the file and line of whatever is wrong."""

from __future__ import annotations

import csv
from collections.abc import Hashable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import ValidationError

from catalogs.errors import DataFileError
from catalogs.record import Record

R = TypeVar("R", bound=Record)

MAX_FILE_BYTES = 64 * 2**20
"""A catalog file above this is refused unread (a price book of a million rows is still smaller)."""


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """Safe loader that refuses duplicate keys and aliases (the stuff of YAML bombs)."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if key.value in seen:
                raise yaml.constructor.ConstructorError(None, None, f"key {key.value!r} appears twice", key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep)  # type: ignore[no-any-return]

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            event = self.peek_event()
            raise yaml.constructor.ConstructorError(
                None, None, "aliases (*name) are not allowed in data files", event.start_mark
            )
        return super().compose_node(parent, index)  # type: ignore[no-any-return]


def read_text(path: Path) -> str:
    """The text of a data file.

    Raises:
        DataFileError: it is missing, unreadable, too large, or not UTF-8.
    """
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise DataFileError(f"{path}: larger than {MAX_FILE_BYTES // 2**20} MiB; split it into several files")
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise DataFileError(f"{path}: no such file") from None
    except UnicodeDecodeError as error:
        raise DataFileError(f"{path}: not UTF-8 text (byte {error.start}); save it as UTF-8") from None
    except OSError as error:
        raise DataFileError(f"{path}: cannot be read ({error.strerror})") from None


def read_yaml(path: Path) -> Any:
    """The content of one YAML file.

    Raises:
        DataFileError: unreadable or not valid YAML; the message has file and line.
    """
    text = read_text(path)
    try:
        return yaml.load(text, Loader=_Loader)  # noqa: S506  (a SafeLoader subclass)
    except yaml.MarkedYAMLError as error:
        line = f":{error.problem_mark.line + 1}" if error.problem_mark else ""
        raise DataFileError(f"{path}{line}: not valid YAML: {error.problem}") from None
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise DataFileError(f"{path}: not valid YAML: {str(error).splitlines()[0]}") from None


def read_records(path: Path, record_type: type[R]) -> list[R]:
    """The records of one catalog file (YAML list of mappings, or CSV with a header).

    Raises:
        DataFileError: the file or one of its records is broken; the message has file, line and field.
    """
    if path.suffix == ".csv":
        return [_record(record_type, fields, path, lambda _, n=line: n) for line, fields in _csv_rows(path)]
    content = read_yaml(path)
    if content is None:
        return []
    if not isinstance(content, list):
        raise DataFileError(f"{path}:1: expected a list of records (lines starting with '- name: …')")
    records = []
    for index, fields in enumerate(content):
        if not isinstance(fields, dict):
            line = _yaml_line(path, index, ())
            raise DataFileError(f"{path}:{line}: expected a mapping of fields, found {type(fields).__name__}")
        records.append(_record(record_type, fields, path, lambda loc, i=index: _yaml_line(path, i, loc)))
    return records


def _record(record_type: type[R], fields: dict[str, Any], path: Path, line_of: Any) -> R:
    try:
        return record_type.model_validate(fields)
    except ValidationError as error:
        first = error.errors()[0]
        location = first["loc"]
        where = ".".join(str(part) for part in location)
        name = fields.get("name", "?")
        message = first["msg"].removeprefix("Value error, ")
        more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
        raise DataFileError(
            f"{path}:{line_of(location)}: {record_type.__name__.lower()} {name!r}"
            f"{': field ' + where if where else ''}: {message}{more}"
        ) from None


def _csv_rows(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    reader = csv.DictReader(read_text(path).splitlines(), strict=True)
    try:
        for row in reader:
            if None in row or None in row.values():
                raise DataFileError(f"{path}:{reader.line_num}: row does not have {len(reader.fieldnames or ())} cells")
            yield reader.line_num, _nested({key: cell for key, cell in row.items() if cell != ""})
    except csv.Error as error:
        raise DataFileError(f"{path}:{reader.line_num}: not valid CSV: {error}") from None


def _nested(row: dict[str, Any]) -> dict[str, Any]:
    """A CSV row as record fields: the columns ``source`` and ``estimated`` become their structured forms."""
    if "source" in row:
        row["sources"] = {"*": row.pop("source")}
    if "estimated" in row:
        row["estimated"] = tuple(str(row["estimated"]).split())
    return row


def _yaml_line(path: Path, index: int, location: tuple[Any, ...]) -> int:
    """The 1-based line of a field of the index-th record (found again only when there is something to report)."""
    root = yaml.compose(read_text(path), Loader=_Loader)
    node: yaml.Node = root.value[index]
    for part in location:
        if isinstance(node, yaml.MappingNode):
            child = next((v for k, v in node.value if k.value == str(part)), None)
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
            child = node.value[part]
        else:
            child = None
        if child is None:
            break
        node = child
    return node.start_mark.line + 1

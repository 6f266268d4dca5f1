"""Reading catalog files into typed records, with the file and line of whatever is wrong."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from catalogs.errors import DataFileError
from catalogs.naming import unknown_name
from catalogs.record import Record

R = TypeVar("R", bound=Record)

MAX_DEPTH = 32
"""Levels of nesting in a YAML file; records use four."""

PLAIN_NUMBER = {
    "float_parsing": "a plain number; write 1234.5, without a unit, thousands separators or a decimal comma",
    "int_parsing": "a whole number; write 1234, without a unit or thousands separators",
}
"""What the text of a number should have been, by the validator's type of error."""

_LineOf = Callable[[tuple[int | str, ...]], int]

MAX_FILE_BYTES = 64 * 2**20
"""A catalog file above this is refused unread (a price book of a million rows is still smaller)."""


_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""libyaml's safe loader where PyYAML was built with it, else the Python one."""


def read_text(path: Path) -> str:
    """The text of a data file.

    Raises:
        DataFileError: it is missing, unreadable, too large, or not UTF-8.
    """
    try:
        content = b""
        size = path.stat().st_size
        if size <= MAX_FILE_BYTES:
            with path.open("rb") as file:  # a device or a growing file says less than it gives
                content = file.read(MAX_FILE_BYTES + 1)
        if max(size, len(content)) > MAX_FILE_BYTES:
            raise DataFileError(f"{path}: larger than {MAX_FILE_BYTES // 2**20} MiB; split it into several files")
        return io.TextIOWrapper(io.BytesIO(content), encoding="utf-8-sig").read()
    except FileNotFoundError:
        raise DataFileError(f"{path}: no such file") from None
    except UnicodeDecodeError as error:
        raise DataFileError(f"{path}: not UTF-8 text (byte {error.start}); save it as UTF-8") from None
    except OSError as error:
        raise DataFileError(f"{path}: cannot be read ({error.strerror})") from None


def read_yaml(path: Path) -> Any:
    """The content of one YAML file; a key given twice and aliases (the stuff of YAML bombs) are refused.

    Raises:
        DataFileError: unreadable or not valid YAML; the message has file and line.
    """
    text = read_text(path)
    try:
        _refuse_aliases_and_depth(text)
        root = yaml.compose(text, Loader=_Loader)
        if root is None:
            return None
        _refuse_twins(root)
        return _Loader("").construct_document(root)
    except yaml.MarkedYAMLError as error:
        line = f":{error.problem_mark.line + 1}" if error.problem_mark else ""
        raise DataFileError(f"{path}{line}: not valid YAML: {error.problem}") from None
    except (yaml.YAMLError, ValueError) as error:
        raise DataFileError(f"{path}: not valid YAML: {str(error).splitlines()[0]}") from None


def _refuse_aliases_and_depth(text: str) -> None:
    """Raise at the first alias and at nesting no record has.

    It reads the events first because libyaml's loader composes in C, where no override of ``compose_node`` is
    called and a file of ten thousand brackets overflows the stack.
    """
    depth = 0
    for event in yaml.parse(text, Loader=_Loader):
        if isinstance(event, yaml.AliasEvent):
            raise _YamlProblem(f"alias *{event.anchor}: aliases are not allowed, repeat the value", event.start_mark)
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > MAX_DEPTH:
            raise _YamlProblem(f"nested deeper than {MAX_DEPTH} levels", event.start_mark)


def _refuse_twins(root: yaml.Node) -> None:
    """Raise at a key that its mapping has twice (YAML itself would let the last one win)."""
    waiting = [root]
    while waiting:
        node = waiting.pop()
        if isinstance(node, yaml.MappingNode):
            keys: set[str] = set()
            for key, value in node.value:
                if not isinstance(key, yaml.ScalarNode):
                    raise _YamlProblem("a key must be plain text", key.start_mark)
                if key.value in keys:
                    raise _YamlProblem(f"key {key.value!r} appears twice", key.start_mark)
                keys.add(key.value)
                waiting.append(value)
        elif isinstance(node, yaml.SequenceNode):
            waiting += node.value


class _YamlProblem(yaml.MarkedYAMLError):
    """Something that YAML allows and data files do not."""

    def __init__(self, problem: str, mark: Any) -> None:
        super().__init__(problem=problem, problem_mark=mark)


def read_records(path: Path, record_type: type[R]) -> list[R]:
    """The records of one catalog file (YAML list of mappings, or CSV with a header).

    Raises:
        DataFileError: the file or one of its records is broken; the message has file, line and field.
    """
    if path.suffix.lower() == ".csv":
        return [_record(record_type, fields, path, partial(_known_line, line)) for line, fields in _csv_rows(path)]
    content = read_yaml(path)
    if content is None:
        return []
    if not isinstance(content, list):
        raise DataFileError(f"{path}:1: expected a list of records (lines starting with '- name: …')")
    records = []
    for index, fields in enumerate(content):
        if not isinstance(fields, dict):
            line = yaml_line(path, (index,))
            raise DataFileError(f"{path}:{line}: expected a mapping of fields, found {type(fields).__name__}")
        records.append(_record(record_type, fields, path, partial(_item_line, path, index)))
    return records


def _record(record_type: type[R], fields: dict[str, Any], path: Path, line_of: _LineOf) -> R:
    try:
        return record_type.model_validate(fields)
    except ValidationError as error:
        found = error.errors()
        # A misspelt field is also a missing one; its spelling is what helps.
        first = next((e for e in found if e["type"] == "extra_forbidden"), found[0])
        location = first["loc"]
        where = ".".join(str(part) for part in location)
        name = fields.get("name", "?")
        message = _reworded(first, record_type)
        more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
        raise DataFileError(
            f"{path}:{line_of(location)}: {record_type.__name__.lower()} {name!r}"
            f"{': field ' + where if where else ''}: {message}{more}"
        ) from None


def _reworded(error: ErrorDetails, record_type: type[Record]) -> str:
    """What is wrong in the words of a data file rather than of the validator."""
    if error["type"] == "extra_forbidden" and len(error["loc"]) == 1:
        return unknown_name("field", str(error["loc"][0]), record_type.model_fields)
    if error["type"] == "extra_forbidden":
        return "unknown field"
    if error["type"] == "missing":
        return "is missing"
    if error["type"] in PLAIN_NUMBER:
        return f"{error['input']!r} is not {PLAIN_NUMBER[error['type']]}"
    if error["type"] == "string_type":
        return f"{error['input']!s} was read as {type(error['input']).__name__}, not as text; put it in quotes"
    return error["msg"].removeprefix("Value error, ")


def _csv_rows(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    reader = csv.DictReader(io.StringIO(read_text(path), newline=""), strict=True)
    try:
        header = reader.fieldnames or ()
        refuse_other_separators(path, header)
        if len(set(header)) != len(header):
            twice = sorted({column for column in header if list(header).count(column) > 1})
            raise DataFileError(f"{path}:1: column {', '.join(twice)} appears twice")
        for row in reader:
            if None in row or None in row.values():
                raise DataFileError(f"{path}:{reader.line_num}: row does not have {len(header)} cells")
            yield reader.line_num, _nested({key: cell for key, cell in row.items() if cell != ""})
    except csv.Error as error:
        raise DataFileError(f"{path}:{reader.reader.line_num}: not valid CSV: {error}") from None


def refuse_other_separators(path: Path, header: Sequence[str]) -> None:
    """Raise where a header is one cell only because its columns stand apart by something else than commas.

    Raises:
        DataFileError: as said.
    """
    for separator, name in ((";", "semicolons"), ("\t", "tabs"), ("|", "bars")):
        if len(header) == 1 and separator in header[0]:
            raise DataFileError(
                f"{path}:1: columns are separated by {name}; save the file with commas, and with points in decimals"
            )


def _nested(row: dict[str, Any]) -> dict[str, Any]:
    """A CSV row as record fields: the columns ``source`` and ``estimated`` become their structured forms."""
    if "source" in row:
        row["sources"] = {"*": row.pop("source")}
    if "estimated" in row:
        row["estimated"] = tuple(str(row["estimated"]).split())
    return row


def _known_line(line: int, _: tuple[Any, ...]) -> int:
    return line


def _item_line(path: Path, index: int, location: tuple[int | str, ...]) -> int:
    return yaml_line(path, (index, *location))


def yaml_line(path: Path, location: tuple[Any, ...]) -> int:
    """The 1-based line of the deepest part of ``location`` (keys and indices) that a YAML file has.

    The file is read again: positions are only needed when there is something to report.

    Raises:
        DataFileError: it can no longer be read.
    """
    node: Any = yaml.compose(read_text(path), Loader=_Loader)
    line = 0 if node is None else node.start_mark.line
    for part in location:
        if isinstance(node, yaml.MappingNode):
            found = next(((key, value) for key, value in node.value if key.value == str(part)), None)
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
            found = (node.value[part], node.value[part])
        else:
            found = None
        if found is None:
            break
        line, node = found[0].start_mark.line, found[1]
    return int(line) + 1

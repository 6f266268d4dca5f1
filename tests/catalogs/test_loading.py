"""Broken data files: every complaint names the file, the line and what would fix it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from catalogs import Catalog, DataFileError, Fabric, UnknownNameError
from catalogs.loading import MAX_DEPTH, read_records, read_yaml

GOOD = """\
- name: leaf
  kind: roce
  port_bytes_per_s: 400Gbps
  radix: 64
  latency_s: 3us
  training_grade: true
  date: "2025-01"
  sources: {"*": vendor data sheet}
"""
CSV_HEADER = "name,kind,port_bytes_per_s,radix,latency_s,training_grade,date,estimated,source\n"
CSV_ROW = "leaf,roce,400Gbps,64,3us,true,2025-01,,sheet\n"

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write_file(content: str | bytes, name: str = "fabrics/mine.yaml") -> Path:
        path = tmp_path / "layer" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return write_file


def complaint(path: Path) -> str:
    with pytest.raises(DataFileError) as caught:
        read_records(path, Fabric)
    message = str(caught.value)
    assert message.startswith(str(path))
    return message.removeprefix(str(path))


def test_a_good_file_reads(write: Write) -> None:
    (fabric,) = read_records(write(GOOD), Fabric)
    assert (fabric.port_bytes_per_s, fabric.latency_s) == (50e9, pytest.approx(3e-6))


@pytest.mark.parametrize("content", ["", "# nothing yet\n", "\ufeff" + GOOD, GOOD.replace("\n", "\r\n")])
def test_empty_files_byte_order_marks_and_dos_lines_are_fine(write: Write, content: str) -> None:
    assert len(read_records(write(content), Fabric)) in {0, 1}


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("- name: [a\n  kind: b\n", ":2: not valid YAML"),
        ("- name: a\n\tkind: b\n", ":2: not valid YAML"),
        ("- name: a\n  name: b\n", ":2: not valid YAML: key 'name' appears twice"),
        ("- ? [a, b]\n  : c\n", ":1: not valid YAML: a key must be plain text"),
        ("- &x {name: a}\n- *x\n", ":2: not valid YAML: alias *x: aliases are not allowed"),
        ("- &x [*x]\n", ":1: not valid YAML: alias *x"),
        ("- !!python/object/apply:os.getcwd []\n", ":1: not valid YAML: could not determine a constructor"),
        ("- a: 1\n---\n- b: 2\n", ":2: not valid YAML"),
        ("name: leaf\n", ":1: expected a list of records"),
        ("just words\n", ":1: expected a list of records"),
        (GOOD + "- leaf\n", ":9: expected a mapping of fields, found str"),
        (GOOD + "- 7: 8\n", ":9: "),
    ],
)
def test_bad_structure_is_reported_with_its_line(write: Write, content: str, expected: str) -> None:
    assert complaint(write(content)).startswith(expected)


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("radix: 64", "radix: many", ":4: fabric 'leaf': field radix: 'many' is not a whole number"),
        ("radix: 64", "radix: 0", ":4: fabric 'leaf': field radix: Input should be greater than 0"),
        ("radix: 64", "radix: [64]", ":4: fabric 'leaf': field radix: "),
        ("kind: roce", "kind: token-ring", ":2: fabric 'leaf': field kind: Input should be 'infiniband'"),
        ("400Gbps", "400GHz", ":3: fabric 'leaf': field port_bytes_per_s: bytes per second: unit 'GHz'"),
        ("radix: 64", "radx: 64", ":4: fabric 'leaf': field radx: unknown field 'radx'; did you mean radix"),
        ("name: leaf", "name: Leaf One", ":1: fabric 'Leaf One': field name: String should match"),
        (
            "name: leaf",
            "name: 2025",
            ":1: fabric 2025: field name: 2025 was read as int, not as text; put it in quotes",
        ),
        ('"2025-01"', '"2025-13"', ":7: fabric 'leaf': field date: String should match"),
        ('"*": vendor', "radix: vendor", ":1: fabric 'leaf': no source for latency_s, oversubscription, port_bytes"),
        ('"*": vendor', "speed: vendor", ":1: fabric 'leaf': sources names speed, which this record does not have"),
        ("vendor data sheet", '" "', ":1: fabric 'leaf': the source of * is empty"),
        ("training_grade: true", "training_grade: maybe", ":6: fabric 'leaf': field training_grade: "),
    ],
)
def test_bad_fields_are_reported_with_line_and_field(write: Write, old: str, new: str, expected: str) -> None:
    assert old in GOOD
    assert complaint(write(GOOD.replace(old, new))).startswith(expected)


@pytest.mark.parametrize("date", ["2025", "2025-01", "2025-01-31", '"2025-01-31"'])
def test_dates_need_no_quotes(write: Write, date: str) -> None:
    (fabric,) = read_records(write(GOOD.replace('"2025-01"', date)), Fabric)
    assert fabric.date == date.strip('"')


def test_an_unknown_field_suggests_the_nearest(write: Write) -> None:
    message = complaint(write(GOOD + "  radixx: 64\n"))
    assert message == ":9: fabric 'leaf': field radixx: unknown field 'radixx'; did you mean radix?"


def test_sources_are_required(write: Write) -> None:
    message = complaint(write(GOOD.replace('  sources: {"*": vendor data sheet}\n', "")))
    assert message == ":1: fabric 'leaf': field sources: is missing"


@pytest.mark.parametrize("bomb", ["[" * 100_000, "- " * 5_000, "{a: " * (MAX_DEPTH + 1)])
def test_deep_nesting_is_refused_before_the_parser_recurses(write: Write, bomb: str) -> None:
    assert f"nested deeper than {MAX_DEPTH} levels" in complaint(write(bomb))


def test_billion_laughs_are_refused(write: Write) -> None:
    laughs = "".join(f"- &l{i + 1} [{', '.join([f'*l{i}'] * 9)}]\n" for i in range(9))
    assert ":2: not valid YAML: alias *l0" in complaint(write("- &l0 ha\n" + laughs))


@pytest.mark.parametrize("content", [b"\xff\xfe- name: a", "- name: é".encode("latin-1")])
def test_other_encodings_are_refused(write: Write, content: bytes) -> None:
    assert "not UTF-8 text (byte" in complaint(write(content))


def test_missing_files_and_folders_are_no_tracebacks(tmp_path: Path) -> None:
    with pytest.raises(DataFileError, match="no such file"):
        read_yaml(tmp_path / "none.yaml")
    with pytest.raises(DataFileError, match="cannot be read"):
        read_yaml(tmp_path)


def test_huge_files_are_refused_unread(write: Write) -> None:
    path = write("")
    with path.open("wb") as file:
        file.truncate(2**30)
    assert "split it into several files" in complaint(path)


def test_a_csv_reads_like_yaml(write: Write) -> None:
    (fabric,) = read_records(write(CSV_HEADER + CSV_ROW, "fabrics/mine.csv"), Fabric)
    assert fabric == read_records(write(GOOD.replace("vendor data sheet", "sheet")), Fabric)[0]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (CSV_HEADER + CSV_ROW + "x,roce\n", ":3: row does not have 9 cells"),
        (CSV_HEADER + "x," + CSV_ROW, ":2: row does not have 9 cells"),
        (CSV_HEADER + CSV_ROW.replace("64", "lots"), ":2: fabric 'leaf': field radix: "),
        (CSV_HEADER.replace("radix", "name") + CSV_ROW, ":1: column name appears twice"),
        (CSV_HEADER + '"leaf"x' + CSV_ROW, ":2: not valid CSV"),
        (CSV_HEADER + '"leaf', ":2: not valid CSV"),
    ],
)
def test_bad_csv_is_reported_with_its_line(write: Write, content: str, expected: str) -> None:
    assert complaint(write(content, "fabrics/mine.csv")).startswith(expected)


def test_a_later_layer_replaces_records_of_the_same_name(write: Write, tmp_path: Path) -> None:
    shipped = next(iter(Catalog().fabrics.values()))
    write(GOOD + GOOD.replace("leaf", shipped.name).replace("radix: 64", "radix: 7"))
    layered = Catalog([tmp_path / "layer"])
    assert layered.fabrics[shipped.name].radix == 7
    assert layered.fabrics.keys() == Catalog().fabrics.keys() | {"leaf"}


@pytest.mark.parametrize("name", ["fabrics/mine.yaml", "fabrics/other.yml"])
def test_one_layer_may_not_define_a_name_twice(write: Write, tmp_path: Path, name: str) -> None:
    write(GOOD)
    write(GOOD * (2 if name == "fabrics/mine.yaml" else 1), name)
    with pytest.raises(DataFileError, match=r"'leaf' is already defined in .*mine\.yaml"):
        _ = Catalog([tmp_path / "layer"]).fabrics


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("offer/mine.yaml", "unknown catalog folder 'offer'; did you mean offers"),
        ("mine.yaml", "not in a folder of its kind"),
    ],
)
def test_files_that_nobody_would_read_are_refused(write: Write, tmp_path: Path, name: str, expected: str) -> None:
    write(GOOD, name)
    with pytest.raises(DataFileError, match=expected):
        Catalog([tmp_path / "layer"])


def test_hidden_folders_and_readmes_are_left_alone(write: Write, tmp_path: Path) -> None:
    for name in (".git/config", "README.md", "fabrics/README.md"):
        write("not data", name)
    write(GOOD)
    assert "leaf" in Catalog([tmp_path / "layer"]).fabrics


def test_a_missing_directory_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataFileError, match="no such catalog directory"):
        Catalog([tmp_path / "none"])


def test_unknown_names_suggest_the_nearest(write: Write, tmp_path: Path) -> None:
    write(GOOD)
    catalog = Catalog([tmp_path / "layer"])
    with pytest.raises(UnknownNameError, match=r"unknown fabric 'laef'; did you mean .*leaf"):
        catalog.find("fabrics", "laef")
    with pytest.raises(UnknownNameError, match="unknown currency 'zzz'; known: "):
        catalog.find("currencies", "zzz")
    with pytest.raises(UnknownNameError, match="unknown catalog kind 'fabric'; did you mean fabrics"):
        catalog.kind("fabric")
    with pytest.raises(UnknownNameError, match="no server in the catalog holds 'abacus'"):
        catalog.server_of("abacus")

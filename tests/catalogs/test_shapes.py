"""A bare size becomes a regular Llama-style shape of that size; a text becomes a model."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from catalogs import Catalog, DataFileError, UnknownNameError, UsageError
from catalogs.resolve import read_model, resolve_model
from catalogs.shapes import GROUPED_FROM, LARGEST, SMALLEST, is_size, model_from_size
from costmodels.architecture import Architecture
from costmodels.parameters import total_params

CUSTOM = """\
layers: 12
hidden: 768
heads: 12
kv_heads: 12
head_dim: 64
ffn: 3072
vocab: 50257
gated: false
tied: true
"""


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return Catalog()


@given(st.floats(min_value=SMALLEST, max_value=LARGEST * 0.999))
def test_every_size_is_met_within_two_percent_by_a_regular_shape(size: float) -> None:
    model, assumptions = model_from_size(f"{size / 1e6:.6f}M")
    assert float(total_params(Architecture.of(model))) == pytest.approx(size, rel=0.0101)
    assert model.heads * model.head_dim == model.hidden
    assert model.kv_heads == (8 if size >= GROUPED_FROM else model.heads)
    assert model.ffn % 256 == 0
    assert 1.5 < model.ffn / model.hidden < 6
    assert 50 < model.hidden / model.layers < 200
    assert assumptions


@pytest.mark.parametrize(("text", "layers", "hidden"), [("70B", 80, 8192), ("70b", 80, 8192), (" 7.5B ", 36, 3840)])
def test_shapes_of_familiar_sizes(text: str, layers: int, hidden: int) -> None:
    model, assumptions = model_from_size(text)
    assert (model.layers, model.hidden) == (layers, hidden)
    assert set(model.estimated) >= {"layers", "hidden", "heads", "ffn", "vocab"}
    assert f"{layers} layers" in assumptions[0]


def test_equal_sizes_give_equal_models() -> None:
    assert model_from_size("0.07T")[0].layers == model_from_size("70B")[0].layers
    assert model_from_size("70B")[0].name == "dense-70b"
    assert model_from_size("7.b")[0].name == "dense-7b"


@pytest.mark.parametrize("text", ["", "70", "B", "70 B B", "seventy", "-70B", "70GB", "nanB", "1e3B"])
def test_what_is_not_a_size_is_said_to_be_none(text: str) -> None:
    assert not is_size(text)
    with pytest.raises(UsageError, match="not a model size"):
        model_from_size(text)


@pytest.mark.parametrize("text", ["0B", "1M", "101T", "9" * 400 + "B"])
def test_sizes_beyond_the_rule_are_refused(text: str) -> None:
    with pytest.raises(UsageError):
        model_from_size(text)


def test_catalog_name_comes_first_and_needs_no_assumption(catalog: Catalog) -> None:
    assert resolve_model(catalog, "llama-2-70b") == (catalog.models["llama-2-70b"], [])


def test_size_and_config_and_folder_and_yaml_resolve(catalog: Catalog, tmp_path: Path) -> None:
    assert resolve_model(catalog, "8B")[0].name == "dense-8b"
    folder = tmp_path / "My Model"
    folder.mkdir()
    config = {
        "model_type": "gpt2",
        "n_embd": 768,
        "n_layer": 12,
        "n_head": 12,
        "n_positions": 1024,
        "vocab_size": 50257,
    }
    (folder / "config.json").write_text(json.dumps(config))
    for text in (str(folder), str(folder / "config.json")):
        model, assumptions = resolve_model(catalog, text)
        assert model.name == "my-model"
        assert int(total_params(Architecture.of(model))) == 124_439_808
        assert assumptions == []
    (tmp_path / "small.yaml").write_text(CUSTOM)
    model, _ = resolve_model(catalog, str(tmp_path / "small.yaml"))
    assert (model.name, model.family, model.layers) == ("small", "custom", 12)


def test_unknown_name_suggests_and_says_what_else_a_model_can_be(catalog: Catalog) -> None:
    with pytest.raises(UnknownNameError, match=r"llama-2-70b.*config\.json.*size"):
        resolve_model(catalog, "meta-llama/llama2-70b")


def test_missing_files_are_named(catalog: Catalog, tmp_path: Path) -> None:
    for name in ("absent.json", "absent.yaml"):
        with pytest.raises(DataFileError, match=name):
            resolve_model(catalog, str(tmp_path / name))


def test_yaml_model_may_be_the_only_item_of_a_list(tmp_path: Path) -> None:
    path = tmp_path / "one.yaml"
    path.write_text("- name: mine\n" + "".join(f"  {line}\n" for line in CUSTOM.splitlines()))
    assert read_model(path).name == "mine"
    path.write_text(path.read_text() * 2)
    with pytest.raises(DataFileError, match="2 records"):
        read_model(path)


@pytest.mark.parametrize("text", ["", "just text", "- 1", "3"])
def test_yaml_without_a_record_says_so(text: str, tmp_path: Path) -> None:
    path = tmp_path / "no.yaml"
    path.write_text(text)
    with pytest.raises(DataFileError, match=r"no\.yaml:1"):
        read_model(path)


@pytest.mark.parametrize(
    ("old", "new", "line", "field"),
    [
        ("heads: 12\nkv", "heads: many\nkv", 3, "heads"),
        ("tied: true", "tied: true\ntyed: 1", 10, "tyed"),
        ("vocab: 50257\n", "", 1, "vocab"),
    ],
)
def test_broken_yaml_model_is_reported_with_line_and_field(
    old: str, new: str, line: int, field: str, tmp_path: Path
) -> None:
    path = tmp_path / "broken.yaml"
    path.write_text(CUSTOM.replace(old, new))
    with pytest.raises(DataFileError, match=rf"broken\.yaml:{line}: model: field {field}"):
        read_model(path)

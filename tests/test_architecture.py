"""Imports flow one way, and the cost models are pure."""

from __future__ import annotations

import ast
import pkgutil
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from importlinter.cli import lint_imports

ROOT = Path(__file__).parents[1]
BELOW = {"catalogs": set(), "costmodels": {"catalogs"}, "optimizer": {"catalogs", "costmodels"}}
MODULES = sorted(path for package in BELOW for path in (ROOT / package).rglob("*.py"))
PURE = sorted((ROOT / "costmodels").rglob("*.py"))
IMPURE_CALLS = {"open", "print", "input", "exec", "eval", "compile", "__import__", "breakpoint"}
REFERENCE = re.compile(r":\w+:`~?((?:catalogs|costmodels|optimizer)\.[\w.]+)`")
IMPURE_MODULES = {"random", "time", "datetime", "os", "io", "pathlib", "subprocess", "socket", "csv", "yaml", "secrets"}


def relative(path: Path) -> str:
    return str(path.relative_to(ROOT))


def imported_modules(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield node.module or ""


def impurities(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Global | ast.Nonlocal):
            yield f"line {node.lineno}: {type(node).__name__.lower()} statement"
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in IMPURE_CALLS:
            yield f"line {node.lineno}: {node.func.id}()"
        elif isinstance(node, ast.Attribute) and node.attr == "random":
            yield f"line {node.lineno}: .random"
    for module in imported_modules(tree):
        if module.split(".")[0] in IMPURE_MODULES:
            yield f"imports {module}"


def test_import_contracts_are_kept(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(ROOT)
    assert lint_imports(no_cache=True, no_logo=True) == 0, capsys.readouterr().out


@pytest.mark.parametrize("path", MODULES, ids=relative)
def test_no_module_imports_upward(path: Path) -> None:
    package = path.relative_to(ROOT).parts[0]
    imported = {module.split(".")[0] for module in imported_modules(ast.parse(path.read_text("utf-8")))}
    assert imported & BELOW.keys() <= {package} | BELOW[package]


@pytest.mark.parametrize("path", PURE, ids=relative)
def test_cost_models_are_pure(path: Path) -> None:
    assert list(impurities(ast.parse(path.read_text("utf-8")))) == []


@pytest.mark.parametrize(
    "source",
    ["open('x')", "print(1)", "import random", "from time import time", "np.random.rand()", "def f():\n global x"],
)
def test_the_purity_scan_sees_what_it_is_for(source: str) -> None:
    assert list(impurities(ast.parse(source)))


def test_every_package_is_typed() -> None:
    assert all((ROOT / package / "py.typed").is_file() for package in BELOW)


@pytest.mark.parametrize("path", [path for path in MODULES if REFERENCE.search(path.read_text("utf-8"))], ids=relative)
def test_what_docstrings_refer_to_exists(path: Path) -> None:
    for name in REFERENCE.findall(path.read_text("utf-8")):
        assert pkgutil.resolve_name(name) is not None

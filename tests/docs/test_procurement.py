"""Every figure of docs/procurement.md is what the comparison says today."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"


@pytest.mark.slow
def test_the_page_says_what_the_comparison_says() -> None:
    spec = importlib.util.spec_from_file_location("write_procurement", DOCS / "write_procurement.py")
    assert spec is not None
    assert spec.loader is not None
    writer = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(writer)
    page = (DOCS / "procurement.md").read_text("utf-8")
    told = "python docs/write_procurement.py writes it anew"
    assert writer.written(page, writer.blocks(*writer.comparisons())) == page, told

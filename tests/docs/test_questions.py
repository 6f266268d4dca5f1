"""docs/questions.md: its commands run, and its figures are about those of today.

The figures move with prices and profiles, which is why they are compared with patience. When a test here fails after
such a change, ``python docs/answer_questions.py`` writes the page anew.
"""

from __future__ import annotations

import importlib.util
import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Cli
from tests.cli.conftest import cli as cli

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "questions.md").read_text(encoding="utf-8")
SPEC = importlib.util.spec_from_file_location("answer_questions", DOCS / "answer_questions.py")
assert SPEC is not None
assert SPEC.loader is not None
ANSWERS = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(ANSWERS)

PATIENCE = 0.3
"""Share by which a figure of the page may be off before the page must be written anew."""

SLOW = {"largest", "long run", "sizing", "no plan", "levers"}
ANEW = "the page is out of date: python docs/answer_questions.py"


def figures(text: str) -> list[float]:
    """Numbers of the prose and tables of a block, commands left out; percentages as shares of a whole beside it."""
    plain = re.sub(r"```sh.*?```", "", text, flags=re.DOTALL)
    return [float(number.replace(",", "")) for number in re.findall(r"(?<![\w.])\d[\d,]*(?:\.\d+)?", plain)]


def commands(text: str) -> list[str]:
    return [line for block in re.findall(r"```sh\n(.*?)```", text, re.DOTALL) for line in block.splitlines()]


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] if name in SLOW else []) for name in ANSWERS.BLOCKS]
)
def test_block(cli: Cli, name: str) -> None:
    said = ANSWERS.block(PAGE, name)

    def ask(command: str) -> Any:
        assert command in commands(said), ANEW
        done = cli(*shlex.split(command)[1:], "--json")
        assert done.code in (0, 4), done.err
        return json.loads(done.out)

    today = ANSWERS.BLOCKS[name](ask)
    assert commands(today) == commands(said), ANEW
    assert today.count("\n|") == said.count("\n|"), ANEW
    before, after = figures(said), figures(today)
    if len(before) == len(after):  # else other repairs or layouts are told, in other words
        far = [(old, new) for old, new in zip(before, after, strict=True) if abs(new - old) > PATIENCE * max(old, 3)]
        assert len(far) <= 0.2 * len(before), f"{ANEW}: {far}"


def test_every_block_stands_on_the_page_once() -> None:
    marks = re.findall(r"<!-- (.*?): begin -->", PAGE)
    assert marks == list(ANSWERS.BLOCKS)
    for name in marks:
        assert ANSWERS.replaced(PAGE, name, ANSWERS.block(PAGE, name)) == PAGE


def test_answers_of_the_documents() -> None:
    """What does not depend on prices or profiles: the documents' own arithmetic."""
    assert "nothing else | 40B |" in ANSWERS.block(PAGE, "largest")
    assert "nothing ever fails | 143.9 |" in ANSWERS.block(PAGE, "long run")
    for text in ("980 GB: 13 card(s)", "143 GB: 2 card(s)", "35 GB: 1 card(s)"):
        assert text in ANSWERS.block(PAGE, "fine-tuning")

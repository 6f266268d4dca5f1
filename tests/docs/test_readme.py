"""The Python of README does what README says."""

from __future__ import annotations

import re
from pathlib import Path

import optimizer
from catalogs import Catalog

README = Path(__file__).parents[2] / "README.md"


def test_the_python_example_plans() -> None:
    (example,) = re.findall(r"```python\n(.*?)```", README.read_text("utf-8"), re.DOTALL)
    names: dict[str, object] = {}
    exec(example, names)
    answer = names["answer"]
    assert isinstance(answer, optimizer.Plan)
    assert answer.best.days <= 90
    assert isinstance(names["catalog"], Catalog)


def test_public_names_are_not_hidden_by_modules_of_the_same_name() -> None:
    homes = {name: getattr(optimizer, name).__module__ for name in optimizer.__all__}
    assert all(home.startswith("optimizer.") for home in homes.values())
    assert not set(optimizer.__all__) & {home.removeprefix("optimizer.") for home in homes.values()}

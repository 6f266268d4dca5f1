"""The catalog a command works on: shipped, then CLUSTERPLAN_CATALOG, then ``--catalog``, later ones on top."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from catalogs import Catalog

VARIABLE = "CLUSTERPLAN_CATALOG"


def open_catalog(directories: Iterable[Path] | None = None) -> Catalog:
    """The shipped catalog under the directories of the environment variable and then of the command line.

    Raises:
        DataFileError: a directory does not exist or is no catalog.
    """
    from catalogs import Catalog

    return Catalog([*from_environment(), *(directories or ())])


def from_environment() -> list[Path]:
    """The directories in CLUSTERPLAN_CATALOG, separated as in PATH; empty entries are skipped."""
    return [Path(entry) for entry in os.environ.get(VARIABLE, "").split(os.pathsep) if entry]

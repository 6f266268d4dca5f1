"""The catalog: every kind of record, the user's layered over the shipped ones, loaded when first asked for."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import TypeVar

from catalogs.accelerator import Accelerator
from catalogs.assumption import FAILURE_HOURS, Assumption
from catalogs.errors import DataFileError, UnknownNameError
from catalogs.fabric import Fabric
from catalogs.framework import Framework
from catalogs.interruptions import Interruptions
from catalogs.loading import read_records
from catalogs.model import Model
from catalogs.naming import unknown_name as unknown_name
from catalogs.offer import Currency, Offer
from catalogs.profile import Profile
from catalogs.record import Record
from catalogs.region import Region
from catalogs.runs import Run, read_runs
from catalogs.server import Server
from catalogs.training import Training

R = TypeVar("R", bound=Record)

SHIPPED = Path(__file__).parent / "data"

SUFFIXES = frozenset({".yaml", ".yml", ".csv"})
"""Endings of the files that are read; others (a README, say) are left alone."""

KINDS: dict[str, type[Record]] = {
    "accelerators": Accelerator,
    "servers": Server,
    "fabrics": Fabric,
    "models": Model,
    "frameworks": Framework,
    "profiles": Profile,
    "offers": Offer,
    "currencies": Currency,
    "assumptions": Assumption,
    "regions": Region,
    "trainings": Training,
    "interruptions": Interruptions,
}
"""Catalog kind (and folder name) to record type."""

RUNS = "runs"
"""Folder of the measured runs: CSV files of :func:`catalogs.runs.read_runs`, which are no records."""


class Catalog:
    """Read-only view of the shipped catalog with any number of user directories layered over it.

    A directory has one folder per kind (``accelerators/``, ``offers/`` …) with YAML or CSV files in it.
    A record of a later directory replaces the record of the same name of an earlier one.
    """

    def __init__(self, directories: Iterable[Path | str] = ()) -> None:
        self.directories = (SHIPPED, *(Path(d) for d in directories))
        for directory in self.directories:
            if not directory.is_dir():
                raise DataFileError(f"{directory}: no such catalog directory")
            _refuse_misplaced(directory)

    @cached_property
    def accelerators(self) -> dict[str, Accelerator]:
        """Accelerators by name."""
        return self._layered("accelerators", Accelerator)

    @cached_property
    def servers(self) -> dict[str, Server]:
        """Servers by name."""
        return self._layered("servers", Server)

    @cached_property
    def fabrics(self) -> dict[str, Fabric]:
        """Fabrics by name."""
        return self._layered("fabrics", Fabric)

    @cached_property
    def models(self) -> dict[str, Model]:
        """Model architectures by name."""
        return self._layered("models", Model)

    @cached_property
    def frameworks(self) -> dict[str, Framework]:
        """Frameworks by name."""
        return self._layered("frameworks", Framework)

    @cached_property
    def profiles(self) -> dict[str, Profile]:
        """Fitted profiles by name."""
        return self._layered("profiles", Profile)

    @cached_property
    def offers(self) -> dict[str, Offer]:
        """Price offers by name."""
        return self._layered("offers", Offer)

    @cached_property
    def currencies(self) -> dict[str, Currency]:
        """Exchange rates by lower-case ISO code."""
        return self._layered("currencies", Currency)

    @cached_property
    def assumptions(self) -> dict[str, Assumption]:
        """Stated defaults by name; a user's replaces a shipped one, for nobody would read another."""
        layered = self._layered("assumptions", Assumption)
        generations = {f"{FAILURE_HOURS}.{one.family}" for one in self.accelerators.values()}
        known = {*_read_directory(SHIPPED / "assumptions", Assumption), FAILURE_HOURS, *generations}
        for name in layered.keys() - known:
            directory = next(
                top for top in self.directories if name in _read_directory(top / "assumptions", Assumption)
            )
            raise DataFileError(f"{directory / 'assumptions'}: {unknown_name('assumption', name, known)}")
        return layered

    @cached_property
    def regions(self) -> dict[str, Region]:
        """Electricity and carbon by region."""
        return self._layered("regions", Region)

    def assumption(self, name: str) -> float:
        """The value of one stated default."""
        return self.assumptions[name].value

    @cached_property
    def trainings(self) -> dict[str, Training]:
        """Published end-to-end trainings by name."""
        return self._layered("trainings", Training)

    @cached_property
    def interruptions(self) -> dict[str, Interruptions]:
        """How often published clusters were interrupted, by name."""
        return self._layered("interruptions", Interruptions)

    @cached_property
    def runs(self) -> list[Run]:
        """Measured runs of all directories, in the order of directory, file and line."""
        return [
            run for top in self.directories for path in sorted((top / RUNS).glob("*.csv")) for run in read_runs(path)
        ]

    def kind(self, kind: str) -> dict[str, Record]:
        """All records of one kind by name."""
        if kind not in KINDS:
            raise UnknownNameError(unknown_name("catalog kind", kind, KINDS))
        return getattr(self, kind)  # type: ignore[no-any-return]

    def find(self, kind: str, name: str) -> Record:
        """One record; an unknown name raises with the nearest known ones."""
        records = self.kind(kind)
        try:
            return records[name]
        except KeyError:
            raise UnknownNameError(unknown_name(KINDS[kind].__name__.lower(), name, records)) from None

    def server_of(self, accelerator: str) -> Server:
        """The server assumed for an accelerator when an offer names none."""
        known = [s for s in self.servers.values() if s.accelerator == accelerator]
        if not known:
            raise UnknownNameError(f"no server in the catalog holds {accelerator!r}; add one under servers/")
        return next((s for s in known if s.default), known[0])

    def _layered(self, kind: str, record_type: type[R]) -> dict[str, R]:
        layered: dict[str, R] = {}
        for directory in self.directories:
            layered |= _read_directory(directory / kind, record_type)
        return layered


def _refuse_misplaced(directory: Path) -> None:
    """Raise for an entry that nobody would read: a folder of no known kind, or a data file outside the folders."""
    for path in sorted(directory.iterdir()):
        if path.name.startswith("."):
            continue
        if path.is_dir() and path.name not in {*KINDS, RUNS}:
            raise DataFileError(f"{path}: {unknown_name('catalog folder', path.name, KINDS)}")
        if path.is_file() and path.suffix.lower() in SUFFIXES:
            raise DataFileError(f"{path}: not in a folder of its kind; move it into one of {', '.join(KINDS)}")


def _read_directory(folder: Path, record_type: type[R]) -> dict[str, R]:
    found: dict[str, R] = {}
    origin: dict[str, Path] = {}
    for path in sorted(p for p in folder.glob("*") if p.suffix.lower() in SUFFIXES):
        for record in read_records(path, record_type):
            if record.name in found:
                raise DataFileError(f"{path}: {record.name!r} is already defined in {origin[record.name]}")
            found[record.name] = record
            origin[record.name] = path
    return found

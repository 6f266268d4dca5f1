"""The layouts that can ever win, evaluated once and kept by content.

Prices change neither seconds nor bytes. For one way of paying and one cluster size the cost grows with time, so the
fastest layout of every cluster size of a site is enough for every price there can be; tokens change nothing but the
number of steps, so the fastest step is enough for every number of tokens. Steps are kept under a digest of everything
physical: model, batch, hardware, network, framework, fitted profile, assumptions, and the formulas' own source.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import zipfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, fields, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import costmodels
import optimizer
from catalogs.catalog import Catalog
from costmodels.run import training_steps
from optimizer.certificate import Certificate
from optimizer.failure_rates import failure_rate
from optimizer.job import Job
from optimizer.leaders import Scored
from optimizer.site import Price, Site
from optimizer.site_search import SiteSearch
from optimizer.space import Spaces

FORMULAS = (
    "bounds",
    "certificate",
    "failure_rates",
    "job",
    "leaders",
    "physics",
    "recovery",
    "replica_counts",
    "replan.layouts_cache",
    "site",
    "site_search",
    "space",
    "space_rules",
    "stage_table",
    "tariff",
    "trust",
    "tuning",
    "whole_numbers",
)
"""Modules of this package that layouts depend on: what the search of a site imports, and this one."""

_BATCHES = 2**31
"""More than the sequences of any step, so that size and sequences make one whole number."""
_ECONOMIC = ("tokens", "deadline_s", "budget_usd", "hardware", "tenures", "offers", "frameworks", "assumptions")
_DESCRIPTIVE = {"title", "sources", "date", "estimated", "notes"}


@dataclass(frozen=True)
class Layouts:
    """The fastest layout of every cluster size of a site that is faster than all smaller ones, for one job.

    Attributes:
        accelerators: cluster sizes, ascending.
        wall_s: seconds of the whole job on each.
        degrees: the layout of each, one column per name.
        names: names of the degrees.
    """

    accelerators: NDArray[np.float64]
    wall_s: NDArray[np.float64]
    degrees: NDArray[np.int64]
    names: tuple[str, ...]

    def layout(self, place: int) -> dict[str, int]:
        """One layout by name."""
        return {name: int(value) for name, value in zip(self.names, self.degrees[place], strict=True)}


@dataclass(frozen=True)
class Steps:
    """The layouts with the fastest step for every cluster size and number of sequences per step: for any tokens.

    A step depends on the tokens of the whole job in nothing but the number of steps, so jobs that differ only in
    tokens share these. One that trains no more sequences in no less time than a cluster no larger is left out.

    Attributes:
        accelerators: cluster sizes, ascending.
        sequences: sequences that a step trains.
        step_s: wall-clock seconds per step, failures included.
        degrees: the layout of each, one column per name.
        names: names of the degrees.
    """

    accelerators: NDArray[np.float64]
    sequences: NDArray[np.float64]
    step_s: NDArray[np.float64]
    degrees: NDArray[np.int64]
    names: tuple[str, ...]

    def layouts(self, tokens: float, seq: int) -> Layouts:
        """The fastest layout of every cluster size for a number of tokens."""
        wall_s = training_steps(np.asarray(tokens), self.sequences, np.asarray(float(seq))) * self.step_s
        order = np.lexsort((wall_s, self.accelerators))
        first = order[np.flatnonzero(np.diff(self.accelerators[order], prepend=-1.0))]
        # A cluster that is no faster than a smaller one is never cheaper at the same offer.
        faster = wall_s[first] < np.minimum.accumulate(np.concatenate([[np.inf], wall_s[first][:-1]]))
        first = first[faster]
        return Layouts(self.accelerators[first], wall_s[first], self.degrees[first], self.names)


class _Fastest:
    """Keeps the fastest step of every cluster size and number of sequences (the search's ``leaders``)."""

    threshold = float("inf")

    def __init__(self) -> None:
        self._layouts: dict[int, Callable[[], dict[str, int]]] = {}
        self._keys = np.empty(0, dtype=np.int64)
        self._step_s = np.empty(0)

    def consider(self, scored: Scored) -> None:
        """Take the candidates of a block that are faster than what is known."""
        groups, rows, places = np.nonzero(np.isfinite(scored.score))
        if not rows.size:
            return
        step_s = scored.wall_s[groups, rows, places]
        keys = scored.accelerators[groups, 0, places].astype(np.int64) * _BATCHES
        keys += scored.sequences()[groups, 0, places].astype(np.int64)
        place = np.searchsorted(self._keys, keys)
        known = np.append(self._keys, -1)[place] == keys
        faster = np.flatnonzero(~known | (step_s < np.append(self._step_s, np.inf)[place]))
        order = faster[np.lexsort((step_s[faster], keys[faster]))]
        new = order[np.flatnonzero(np.diff(keys[order], prepend=-1))]
        for one in new:
            # Most of these are beaten later: the degrees are spelled out for those that are not.
            self._layouts[int(keys[one])] = partial(scored.layout, int(groups[one]), int(rows[one]), int(places[one]))
        # Of equal keys the first is kept: the new one.
        keys, first = np.unique(np.concatenate([keys[new], self._keys]), return_index=True)
        self._keys, self._step_s = keys, np.concatenate([step_s[new], self._step_s])[first]

    def steps(self) -> Steps:
        """What is kept, without those that a cluster no larger beats in sequences and seconds."""
        kept: list[int] = []
        best = np.empty((0, 2))  # sequences and seconds that no other one of the clusters so far beats
        # By size, and of one size those with more sequences first.
        sizes, sequences = np.divmod(self._keys, _BATCHES)
        for one in np.lexsort((-sequences, sizes)):
            row = np.array([sequences[one], self._step_s[one]])
            if not np.any((best[:, 0] >= row[0]) & (best[:, 1] <= row[1])):
                best = np.vstack([best[(best[:, 0] > row[0]) | (best[:, 1] < row[1])], row])
                kept.append(int(one))
        layouts = [self._layouts[int(self._keys[one])]() for one in kept]
        names = tuple(layouts[0]) if layouts else ()
        return Steps(
            sizes[kept].astype(np.float64),
            sequences[kept].astype(np.float64),
            self._step_s[kept],
            np.array([list(one.values()) for one in layouts], dtype=np.int64).reshape(len(kept), len(names)),
            names,
        )


class LayoutCache:
    """Layouts by content digest, in memory and in a folder.

    Attributes:
        folder: where they are kept (None: memory only).
        evaluated: sites evaluated because no entry was there.
        unkept: why entries could not be written to the folder; they are evaluated again by the next run.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder
        self.evaluated = 0
        self.unkept = ""
        self._known: dict[str, Steps] = {}
        self._layouts: dict[tuple[str, float], Layouts] = {}

    def get(self, job: Job, site: Site, catalog: Catalog) -> Layouts:
        """The layouts of a job on a site."""
        digest = physical_digest(job, site, catalog)
        key = digest, job.tokens
        if key not in self._layouts:
            self._layouts[key] = self._steps(digest, job, site, catalog).layouts(job.tokens, job.seq)
        return self._layouts[key]

    def _steps(self, digest: str, job: Job, site: Site, catalog: Catalog) -> Steps:
        known = self._known.get(digest) or self._load(digest)
        if known is None:
            known = evaluate(job, site, catalog)
            self.evaluated += 1
            self._save(digest, known)
        self._known[digest] = known
        return known

    def _load(self, digest: str) -> Steps | None:
        """An entry of the folder; one that is damaged counts as absent."""
        if self.folder is None:
            return None
        try:
            content = (self.folder / f"{digest}.npz").read_bytes()
            with np.load(io.BytesIO(content), allow_pickle=False) as file:
                return Steps(
                    file["accelerators"],
                    file["sequences"],
                    file["step_s"],
                    file["degrees"],
                    tuple(map(str, file["names"])),
                )
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
            return None

    def _save(self, digest: str, steps: Steps) -> None:
        if self.folder is None:
            return
        buffer = io.BytesIO()
        np.savez(
            buffer,
            accelerators=steps.accelerators,
            sequences=steps.sequences,
            step_s=steps.step_s,
            degrees=steps.degrees,
            names=np.array(steps.names),
        )
        part = self.folder / f".{digest}.{os.getpid()}"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            part.write_bytes(buffer.getvalue())
            part.replace(self.folder / f"{digest}.npz")
        except OSError as error:
            self.unkept = f"{self.folder}: layouts cannot be kept ({error.strerror}); the next run evaluates them again"
            with suppress(OSError):
                part.unlink()


def evaluate(job: Job, site: Site, catalog: Catalog) -> Steps:
    """Search a site for the fastest step of every cluster size; no deadline, no budget, any one price."""
    one = site.prices[0]
    any_price = Price(one.offer.model_copy(update={"tenure": "on_demand", "max_servers": None}), 1.0)
    one_step = replace(job, tokens=1.0, deadline_s=float("inf"), budget_usd=float("inf"))
    fastest = _Fastest()
    searched = SiteSearch(one_step, replace(site, prices=(any_price,)), catalog, "cost", Spaces(one_step))
    searched.run(fastest, Certificate())
    return fastest.steps()


def physical_digest(job: Job, site: Site, catalog: Catalog) -> str:
    """SHA-256 of everything that the seconds and bytes of a job on a site depend on."""
    failures = repr(failure_rate(site.accelerator, catalog).hours)
    parts = (_job_text(job), _site_text(site), _assumptions_text(catalog), failures, formulas_digest())
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _record(record: Any) -> Any:
    return record.model_dump(mode="json", exclude=_DESCRIPTIVE)


_texts: dict[int, tuple[object, str]] = {}


def _remembered(key: object, make: Any) -> str:
    """A text made once per object (the object is kept, so that its identity stays its own)."""
    known = _texts.get(id(key))
    if known is None or known[0] is not key:
        known = _texts[id(key)] = (key, make())
    return known[1]


def _job_text(job: Job) -> str:
    def make() -> str:
        physical = {f.name: getattr(job, f.name) for f in fields(job) if f.name not in (*_ECONOMIC, "model")}
        return json.dumps([_record(job.model), physical], sort_keys=True, default=str)

    return _remembered(job, make)


def _site_text(site: Site) -> str:
    def make() -> str:
        records = [_record(r) for r in (site.accelerator, site.server, site.fabric, site.framework, site.profile)]
        numbers = (site.precision, site.server_accelerators, site.scale_out_bytes_per_s, site.multi_server, site.spot)
        return json.dumps([records, numbers], sort_keys=True)

    return _remembered(site, make)


def _assumptions_text(catalog: Catalog) -> str:
    assumptions = catalog.assumptions
    return _remembered(
        assumptions, lambda: json.dumps({name: one.value for name, one in assumptions.items()}, sort_keys=True)
    )


@lru_cache(maxsize=1)
def formulas_digest() -> str:
    """SHA-256 of the source of the cost models and the search: a changed formula is a changed result."""
    here = Path(optimizer.__file__).parent
    files = [
        *sorted(Path(costmodels.__file__).parent.glob("*.py")),
        *(here / f"{name.replace('.', '/')}.py" for name in FORMULAS),
    ]
    return hashlib.sha256(b"\0".join(path.read_bytes() for path in files)).hexdigest()

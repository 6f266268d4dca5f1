"""The layouts that can ever win, evaluated once and kept by content.

Prices change neither seconds nor bytes. For one way of paying and one cluster size the cost grows with time, so the
fastest layout of every cluster size of a site is enough for every price there can be. They are kept under a digest of
everything physical: job, hardware, network, framework, fitted profile, assumptions, and the formulas' own source.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import zipfile
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import costmodels
import optimizer
from catalogs.catalog import Catalog
from optimizer.job import Job
from optimizer.leaders import Scored
from optimizer.market import Price, Site
from optimizer.search import Certificate, SiteSearch
from optimizer.space import Spaces

_FORMULAS = ("search.py", "space.py", "physics.py", "leaders.py", "market.py", "replan/layouts_cache.py")
_ECONOMIC = ("deadline_s", "budget_usd", "hardware", "tenures", "offers", "frameworks", "assumptions")
_DESCRIPTIVE = {"title", "sources", "date", "estimated", "notes"}


@dataclass(frozen=True)
class Layouts:
    """The fastest layout of every cluster size of a site.

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


class _Fastest:
    """Keeps the fastest candidate of every cluster size (the search's ``leaders``)."""

    threshold = float("inf")

    def __init__(self) -> None:
        self.best: dict[int, tuple[float, dict[str, int]]] = {}

    def consider(self, scored: Scored) -> None:
        rows, places = np.nonzero(np.isfinite(scored.cost))
        if not rows.size:
            return
        sizes = scored.accelerators[rows, places].astype(np.int64)
        wall_s = scored.wall_s[rows, places]
        order = np.lexsort((wall_s, sizes))
        for one in order[np.flatnonzero(np.diff(sizes[order], prepend=-1))]:
            size = int(sizes[one])
            if size not in self.best or wall_s[one] < self.best[size][0]:
                self.best[size] = float(wall_s[one]), scored.layout(int(rows[one]), int(places[one]))


class LayoutCache:
    """Layouts by content digest, in memory and in a folder.

    Attributes:
        folder: where they are kept (None: memory only).
        evaluated: sites evaluated because no entry was there.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder
        self.evaluated = 0
        self._known: dict[str, Layouts] = {}

    def get(self, job: Job, site: Site, catalog: Catalog) -> Layouts:
        """The layouts of a job on a site."""
        digest = physical_digest(job, site, catalog)
        known = self._known.get(digest) or self._load(digest)
        if known is None:
            known = evaluate(job, site, catalog)
            self.evaluated += 1
            self._save(digest, known)
        self._known[digest] = known
        return known

    def _load(self, digest: str) -> Layouts | None:
        """An entry of the folder; one that is damaged counts as absent."""
        if self.folder is None:
            return None
        try:
            content = (self.folder / f"{digest}.npz").read_bytes()
            with np.load(io.BytesIO(content), allow_pickle=False) as file:
                return Layouts(file["accelerators"], file["wall_s"], file["degrees"], tuple(map(str, file["names"])))
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
            return None

    def _save(self, digest: str, layouts: Layouts) -> None:
        if self.folder is None:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        buffer = io.BytesIO()
        np.savez(
            buffer,
            accelerators=layouts.accelerators,
            wall_s=layouts.wall_s,
            degrees=layouts.degrees,
            names=np.array(layouts.names),
        )
        part = self.folder / f".{digest}.{os.getpid()}"
        part.write_bytes(buffer.getvalue())
        part.replace(self.folder / f"{digest}.npz")


def evaluate(job: Job, site: Site, catalog: Catalog) -> Layouts:
    """Search a site for the fastest layout of every cluster size; no deadline, no budget, any one price."""
    one = site.prices[0]
    any_price = Price(one.offer.model_copy(update={"tenure": "on_demand", "max_servers": None}), 1.0)
    free = replace(job, deadline_s=float("inf"), budget_usd=float("inf"))
    fastest = _Fastest()
    searched = SiteSearch(free, replace(site, prices=(any_price,)), catalog, "cost", Spaces(free))
    searched.run(fastest, Certificate())  # type: ignore[arg-type]
    sizes = sorted(fastest.best)
    names = tuple(fastest.best[sizes[0]][1]) if sizes else ()
    return Layouts(
        np.array(sizes, dtype=np.float64),
        np.array([fastest.best[size][0] for size in sizes]),
        np.array([[fastest.best[size][1][name] for name in names] for size in sizes], dtype=np.int64).reshape(
            len(sizes), len(names)
        ),
        names,
    )


def physical_digest(job: Job, site: Site, catalog: Catalog) -> str:
    """SHA-256 of everything that the seconds and bytes of a job on a site depend on."""
    parts = (_job_text(job), _site_text(site), _assumptions_text(catalog), formulas_digest())
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
        numbers = (site.precision, site.server_accelerators, site.scale_out_bytes_per_s, site.multi_server)
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
    files = [*sorted(Path(costmodels.__file__).parent.glob("*.py")), *(here / name for name in _FORMULAS)]
    return hashlib.sha256(b"\0".join(path.read_bytes() for path in files)).hexdigest()

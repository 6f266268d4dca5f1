"""Published trainings predicted: in the fastest layout on the cluster that was used, and in the one that was published.

The first asks what the tool would have promised from the model, the tokens and the cluster alone; the second takes the
layout, the software and the network as they were published, so that what remains between it and the publication is the
error of the models.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from catalogs.catalog import Catalog
from catalogs.errors import ClusterplanError
from catalogs.framework import Framework
from catalogs.profile import PEAK_DTYPE
from catalogs.training import PublishedLayout, Training
from optimizer.catalog_variant import with_framework, with_network, with_offers
from optimizer.configuration import Configuration
from optimizer.configure import configure
from optimizer.estimation import estimate
from optimizer.job import Job
from optimizer.layout import Layout
from optimizer.layout_request import layout_from_request
from optimizer.market import sites
from optimizer.request import read_job
from optimizer.search import search


@dataclass(frozen=True)
class Prediction:
    """A training in one layout.

    Attributes:
        configuration: all figures (None: there are none).
        reason: why there is no prediction, else "".
    """

    configuration: Configuration | None
    reason: str = ""

    @property
    def days(self) -> float | None:
        """Predicted wall-clock days, lost time included unless the publication leaves it out."""
        return None if self.configuration is None else self.configuration.days

    @property
    def hours(self) -> float | None:
        """Predicted accelerator-hours, of the accelerators in use."""
        return None if self.configuration is None else self.configuration.days * 24.0 * self.configuration.accelerators


@dataclass(frozen=True)
class PublishedRun:
    """A published training and what the models say about it.

    Attributes:
        training: the catalog record.
        fastest: in the fastest layout on at most the published accelerators, on the framework as its record has it.
        published: in the published layout, on the software and network of then (None: not enough of it is published).
        peak_flops_per_s: dense peak of the accelerator at the training's precision (NaN: there is none).
    """

    training: Training
    fastest: Prediction
    published: Prediction | None
    peak_flops_per_s: float

    @property
    def nearest(self) -> Prediction:
        """The prediction that knows most of the training."""
        return self.fastest if self.published is None else self.published


def published_runs(catalog: Catalog) -> tuple[PublishedRun, ...]:
    """All trainings of the catalog, predicted."""
    return tuple(_predicted(catalog, one) for one in catalog.trainings.values())


def _predicted(catalog: Catalog, one: Training) -> PublishedRun:
    accelerator = catalog.accelerators.get(one.accelerator)
    peaks = {} if accelerator is None else {str(name): value for name, value in accelerator.peak_flops_per_s.items()}
    return PublishedRun(
        training=one,
        fastest=_fastest(catalog, one),
        published=None if one.layout is None else in_layout(catalog, one, one.layout),
        peak_flops_per_s=peaks.get(PEAK_DTYPE[one.precision], math.nan),
    )


def _fastest(catalog: Catalog, one: Training) -> Prediction:
    try:
        job = _job(catalog, one)
        found, _ = sites(job, catalog)
        leaders, _ = search(job, found, catalog, "time", keep=1)
    except ClusterplanError as error:
        return Prediction(None, str(error))
    if not leaders:
        return Prediction(None, "no layout fits")
    best = leaders[0]
    return Prediction(configure(best.physics, Layout.of(best.layout), best.tariff))


def in_layout(catalog: Catalog, one: Training, layout: PublishedLayout) -> Prediction:
    """A training in a given layout, on the software and the network that come with it."""
    try:
        then = _catalog_of(catalog, one, layout)
        job = _job(then, one, global_batch=layout.global_batch)
        wanted = layout_from_request(
            job,
            then,
            tp=layout.tp,
            pp=layout.pp,
            vpp=layout.vpp,
            dp=layout.dp,
            cp=layout.cp,
            ep=layout.ep,
            etp=layout.etp,
            zero=layout.zero,
            zero_group=None,
            micro_batch=layout.micro_batch,
            recompute=layout.recompute,
            offload="none",
            schedule=layout.schedule,
            sequence_parallel=layout.sequence_parallel,
        )
        return Prediction(estimate(job, wanted, then).configuration)
    except ClusterplanError as error:
        return Prediction(None, str(error))


def _catalog_of(catalog: Catalog, one: Training, layout: PublishedLayout) -> Catalog:
    """The catalog with the framework and the network of a training's layout, and nothing on offer."""
    known = catalog.find("frameworks", one.framework)
    assert isinstance(known, Framework)
    then = with_framework(with_offers(catalog, {}), known.model_copy(update=layout.software))
    network = layout.scale_out_bytes_per_s_per_accelerator
    return then if network is None else with_network(then, network)


def _job(catalog: Catalog, one: Training, *, global_batch: int | None = None) -> Job:
    """The question that a training answers; where its hours hold no lost time, neither does the prediction."""
    return read_job(
        catalog,
        one.model,
        one.tokens,
        hardware=[one.accelerator],
        seq=one.seq,
        global_batch=global_batch,
        max_accelerators=one.accelerators,
        precision=one.precision,
        frameworks=[one.framework],
        offers=["all"],
        goodput=1.0 if one.uninterrupted else None,
    )

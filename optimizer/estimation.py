"""Estimates of one given configuration, and utilisation from a measured throughput."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from catalogs.assumption import Assumption
from catalogs.catalog import Catalog
from catalogs.errors import UnsupportedError, UsageError
from catalogs.profile import PEAK_DTYPE
from costmodels.architecture import Architecture
from costmodels.flops import forward_flops, model_flops_per_token
from costmodels.parameters import active_params, total_params
from costmodels.run import DAY_S
from costmodels.utilisation import executed_flops_per_token, hfu, mfu
from optimizer.configuration import Configuration
from optimizer.configure import configure
from optimizer.expert_overlap import told_exchange
from optimizer.explain import told_goodput
from optimizer.failure_rates import failure_rate
from optimizer.job import Job
from optimizer.layout import Layout
from optimizer.market import precision_of, site_of
from optimizer.physics import Physics
from optimizer.planning import SCHEMA_VERSION
from optimizer.tariff import cheapest_tariff
from optimizer.trust import told_scale
from optimizer.validity import broken_rules, does_not_exist


@dataclass(frozen=True)
class Estimate:
    """What the models say about one given configuration.

    Attributes:
        configuration: all figures; ``fits`` says whether the memory suffices.
        assumptions: what the figures rest on.
        failure_rate: accelerator-hours between interruptions (None: the goodput is stated).
    """

    configuration: Configuration
    assumptions: tuple[str, ...]
    failure_rate: Assumption | None

    def to_json(self) -> dict[str, Any]:
        """One object of the ``best`` shape, with the schema version and the assumptions."""
        return {
            "schema_version": SCHEMA_VERSION,
            **self.configuration.to_json(),
            "assumptions": list(self.assumptions),
            "failure_rate": None if self.failure_rate is None else self.failure_rate.to_json(),
        }


def estimate(job: Job, layout: Layout, catalog: Catalog | None = None) -> Estimate:
    """Memory, step time, days and cost of one layout on the job's (only) hardware.

    Raises:
        UsageError: the job does not name exactly one accelerator.
        UnsupportedError: the layout breaks a rule; the message names it.
    """
    catalog = catalog or Catalog()
    if len(job.hardware) != 1:
        raise UsageError("an estimate needs exactly one accelerator; name it with --hardware")
    accelerator = catalog.find("accelerators", job.hardware[0])
    site = site_of(catalog.accelerators[accelerator.name], job, catalog)
    if layout.accelerators > site.max_accelerators:
        raise UnsupportedError(
            f"{layout.accelerators} accelerators are more than one server of {site.server_accelerators}, and "
            f"{site.prices[0].offer.name} has no network between servers"
        )
    physics = Physics.of(job, site, catalog)
    broken = broken_rules(layout, physics, job)
    if broken:
        raise UnsupportedError(does_not_exist(broken))
    unpaid = configure(physics, layout, None)
    tariff = cheapest_tariff(site, catalog, layout.accelerators, unpaid.days * DAY_S)
    configuration = unpaid if tariff is None else configure(physics, layout, tariff)
    said = [*job.assumptions, *site.notes]
    if site.profile_note:
        said.append(f"{accelerator.name}: {site.profile_note}")
    if tariff is None:
        why = "has so many" if site.prices else "is considered"
        said.append(f"{accelerator.name}: no offer {why}, so no cost")
    said.append(told_goodput(configuration, job, catalog))
    said += told_exchange(layout.ep, configuration.expert_overlap, site.framework)
    said += told_scale(site.profile, configuration.accelerators)
    rate = None if job.goodput is not None else failure_rate(site.accelerator, catalog).told
    return Estimate(configuration, tuple(said), rate)


@dataclass(frozen=True)
class Utilisation:
    """MFU and HFU of a measured throughput, with the FLOPs they rest on (all per token, training).

    Attributes:
        mfu, hfu: shares of the dense peak.
        tokens_per_s_per_accel: the measurement.
        peak_flops_per_s: dense peak of the precision.
        model_flops_per_token: three times forward, full attention.
        executed_flops_per_token: what the device does: causal half, recomputation.
        components: forward FLOPs per token by component.
        six_n_flops_per_token: the rule of thumb, for comparison.
        params, active_params: of the model.
    """

    mfu: float
    hfu: float
    tokens_per_s_per_accel: float
    peak_flops_per_s: float
    model_flops_per_token: float
    executed_flops_per_token: float
    components: dict[str, float]
    six_n_flops_per_token: float
    params: float
    active_params: float

    def to_json(self) -> dict[str, Any]:
        """The object of the documented schema."""
        return {"schema_version": SCHEMA_VERSION, **self.__dict__}


def utilisation(
    job: Job, catalog: Catalog, tokens_per_s_per_accel: float, recomputed_share: float, *, selective: bool = False
) -> Utilisation:
    """MFU and HFU of a measured throughput of the job's model on its (only) hardware.

    Args:
        job: model, sequence length, precision and one accelerator.
        catalog: where they are looked up.
        tokens_per_s_per_accel: measured.
        recomputed_share: share of the layers that was fully recomputed (0 to 1).
        selective: whether the attention core was recomputed.

    Raises:
        UsageError: the values make no sense.
    """
    if len(job.hardware) != 1:
        raise UsageError("utilisation needs exactly one accelerator; name it with --hardware")
    if not 0 <= recomputed_share <= 1:
        raise UsageError(f"the recomputed share is between 0 and 1, not {recomputed_share}")
    catalog.find("accelerators", job.hardware[0])
    accelerator = catalog.accelerators[job.hardware[0]]
    precision = precision_of(accelerator, job)
    dtype = PEAK_DTYPE[precision]
    peaks = {str(name): value for name, value in accelerator.peak_flops_per_s.items()}
    if dtype not in peaks:
        raise UnsupportedError(f"{accelerator.name} has no {dtype} peak in the catalog; it has {', '.join(peaks)}")
    a, seq = Architecture.of(job.model), np.asarray(float(job.seq))
    rate, peak = np.asarray(float(tokens_per_s_per_accel)), np.asarray(peaks[dtype])
    share, core, flash = np.asarray(recomputed_share), np.asarray(float(selective)), np.ones(())
    active = float(active_params(a))
    return Utilisation(
        mfu=float(mfu(a, seq, rate, peak)),
        hfu=float(hfu(a, seq, rate, peak, share, core)),
        tokens_per_s_per_accel=float(tokens_per_s_per_accel),
        peak_flops_per_s=peaks[dtype],
        model_flops_per_token=float(model_flops_per_token(a, seq)),
        executed_flops_per_token=float(executed_flops_per_token(a, seq, share, core, flash)),
        components={name: float(value) for name, value in forward_flops(a, seq, causal=False).items()},
        six_n_flops_per_token=6.0 * active,
        params=float(total_params(a)),
        active_params=active,
    )

"""Scenarios on the workers of a Dask cluster: a local one, or one that runs already (``dask scheduler``).

Every worker gets the market once, and again when it is replaced. A scenario whose worker is lost, or whose outcome was
lost with it, is planned again by another one.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.metadata import version
from typing import Any, cast

from distributed import Client, KilledWorker, LocalCluster, Worker, WorkerPlugin, as_completed, get_worker

from catalogs.errors import ClusterplanError, UsageError
from optimizer.sweep.grid import Grid, Scenario
from optimizer.sweep.market import Market
from optimizer.sweep.outcome import outcome_of
from optimizer.sweep.run import Outcomes

CONNECT_S = 10
"""How long to wait for a scheduler that is named."""


class MarketPlugin(WorkerPlugin):
    """Hands the market of a sweep to every worker that there is or comes."""

    def __init__(self, market: Market, version: str) -> None:
        self.market, self.version = market, version

    def setup(self, worker: Worker) -> None:
        """Refuse a worker of another version, which would plan by other formulas.

        Raises:
            RuntimeError: the version differs.
        """
        _refuse_other_version(self.version)


def _refuse_other_version(wanted: str) -> None:
    own = version("clusterplan")
    if own != wanted:
        raise RuntimeError(f"it has clusterplan {own}, not {wanted}")


def _plan(place: int, scenario: Scenario, plugin: str) -> tuple[int, dict[str, Any]]:
    held = cast(MarketPlugin, get_worker().plugins[plugin])
    return place, outcome_of(scenario, held.market)


@contextmanager
def client_of(scheduler: str | None, workers: int) -> Iterator[Client]:
    """A connection to the scheduler at an address, or to a cluster of so many processes on this machine.

    Raises:
        UsageError: nobody answers at the address.
    """
    if scheduler is None:
        with (
            LocalCluster(
                n_workers=workers, threads_per_worker=1, dashboard_address=None, silence_logs=logging.CRITICAL
            ) as cluster,
            Client(cluster) as client,
        ):
            yield client
        return
    try:
        client = Client(scheduler, timeout=CONNECT_S)
    except (OSError, ValueError) as error:
        raise UsageError(f"--scheduler {scheduler}: no Dask scheduler answers there ({error})") from None
    with client:
        yield client


def distributed(grid: Grid, client: Client) -> Outcomes:
    """Plan on the workers of a client; outcomes come as they are ready.

    Raises:
        ClusterplanError: the workers cannot run clusterplan, or one scenario keeps killing them.
    """
    plugin = MarketPlugin(grid.market.whole(), version("clusterplan"))
    name = f"clusterplan-{client.id}"
    try:
        try:
            client.run_on_scheduler(_refuse_other_version, plugin.version)
            client.register_plugin(plugin, name=name)
        except Exception as error:  # what a worker or the scheduler raises arrives as a bare Exception
            raise ClusterplanError(
                f"the cluster cannot take the sweep ({error}); install clusterplan {plugin.version} on its scheduler "
                "and workers"
            ) from None
        yield from _outcomes(grid, client, name)
    finally:
        # A worker that never got it complains; the scheduler has forgotten it all the same.
        with suppress(Exception):
            client.unregister_worker_plugin(name)


def _outcomes(grid: Grid, client: Client, plugin: str) -> Outcomes:
    places = range(len(grid.scenarios))
    futures = client.map(_plan, places, grid.scenarios, plugin=plugin, pure=False, key="clusterplan-scenario")
    try:
        for future in as_completed(futures):
            yield future.result()
            future.release()
    except KilledWorker as error:
        raise ClusterplanError(
            f"workers keep dying over {error.task}: give them more memory, or run --serial to see why"
        ) from None
    finally:
        client.cancel(futures)

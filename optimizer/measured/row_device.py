"""The hardware that a row ran on: the catalog's, on the network and in the servers that the row states."""

from __future__ import annotations

from catalogs.catalog import Catalog
from catalogs.errors import ClusterplanError, UnsupportedError
from catalogs.fabric import Fabric
from catalogs.profile import Precision
from catalogs.runs import Run
from catalogs.server import Server
from costmodels.device import Device
from optimizer.measured.skipped import SkipError


class Devices:
    """Devices of rows, built once per kind."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._known: dict[tuple[str, int | None, float | None, Precision], Device] = {}

    def of(self, run: Run, precision: Precision) -> Device:
        """The device of a row.

        Raises:
            SkipError: the catalog does not have it, or not enough of it.
        """
        key = (run.accelerator, run.accel_per_node, run.inter_gbps_per_accel, precision)
        if key not in self._known:
            self._known[key] = _device(self._catalog, run, precision)
        return self._known[key]


def _device(catalog: Catalog, run: Run, precision: Precision) -> Device:
    accelerator = catalog.accelerators.get(run.accelerator)
    if accelerator is None:
        raise SkipError(f"accelerator {run.accelerator!r} is not in the catalog")
    try:
        server = catalog.server_of(run.accelerator)
    except ClusterplanError:
        raise SkipError(f"no server with {run.accelerator} is in the catalog") from None
    scale_out = run.inter_gbps_per_accel * 1e9 / 8 if run.inter_gbps_per_accel else _nominal_scale_out(server)
    fabric = _fabric(catalog, server)
    if run.accel_per_node and accelerator.scale_up.domain <= server.accelerators <= 16:
        server = server.model_copy(update={"accelerators": run.accel_per_node})
    try:
        return Device.of(accelerator, server.accelerators, fabric, precision, scale_out)
    except UnsupportedError as error:
        raise SkipError(str(error)) from None


def _nominal_scale_out(server: Server) -> float:
    if server.scale_out_bytes_per_s_per_accelerator is None:
        raise SkipError(f"network bandwidth is not stated and server {server.name} has none in the catalog")
    return server.scale_out_bytes_per_s_per_accelerator


def _fabric(catalog: Catalog, server: Server) -> Fabric:
    if server.fabric is None:
        raise SkipError(f"server {server.name} has no fabric in the catalog")
    return catalog.fabrics[server.fabric]

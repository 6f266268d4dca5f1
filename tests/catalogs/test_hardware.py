"""The shipped hardware: it loads, resolves, is sourced, and no number is a marketing figure in disguise."""

from __future__ import annotations

from collections import Counter

import pytest

from catalogs.accelerator import Dtype
from catalogs.catalog import Catalog
from catalogs.record import Record

GIB = 2.0**30

# What published runs and prices are recorded against: renaming one of these orphans them.
# fmt: off
RELIED_UPON = {
    "v100-sxm-32g", "v100-sxm-16g", "v100-pcie-32g", "a100-sxm-40g", "a100-sxm-80g", "a100-pcie-40g", "a100-pcie-80g",
    "a800-sxm-80g", "h100-sxm-80g", "h100-sxm-96g-hbm2e", "h100-pcie-80g", "h100-nvl-94g", "h800-sxm-80g", "h20-96g",
    "h200-sxm", "gh200", "b200", "b300", "gb200", "gb300", "l40s", "rtx-4090", "mi250x", "mi250x-gcd", "mi300x",
    "mi325x", "mi355x", "gaudi2", "gaudi3", "tpu-v4", "tpu-v5e", "tpu-v5p", "tpu-v6e", "tpu-v7x", "ascend-910a",
    "ascend-910b", "ascend-910c", "ascend-910c-die", "trainium1", "trainium2",
}
# fmt: on


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return Catalog()


def hardware(catalog: Catalog) -> list[Record]:
    return [*catalog.accelerators.values(), *catalog.servers.values(), *catalog.fabrics.values()]


def test_there_is_enough_to_choose_from(catalog: Catalog) -> None:
    assert set(catalog.accelerators) >= RELIED_UPON
    assert len(catalog.accelerators) >= 36
    assert {a.vendor for a in catalog.accelerators.values()} >= {"nvidia", "amd", "intel", "google", "huawei", "aws"}


def test_servers_name_accelerators_and_fabrics_that_exist(catalog: Catalog) -> None:
    assert {s.accelerator for s in catalog.servers.values()} <= set(catalog.accelerators)
    assert {s.fabric for s in catalog.servers.values() if s.fabric} <= set(catalog.fabrics)


def test_every_accelerator_has_exactly_one_default_server(catalog: Catalog) -> None:
    defaults = Counter(s.accelerator for s in catalog.servers.values() if s.default)
    assert defaults == Counter(dict.fromkeys(catalog.accelerators, 1))
    for name in catalog.accelerators:
        assert catalog.server_of(name).default


@pytest.mark.parametrize(
    ("name", "dtype", "dense"),
    [
        ("v100-sxm-32g", "fp16", 125e12),
        ("a100-sxm-80g", "bf16", 312e12),
        ("h100-sxm-80g", "bf16", 989.5e12),
        ("h100-sxm-80g", "fp8", 1979e12),
        ("h100-nvl-94g", "bf16", 835e12),
        ("h20-96g", "bf16", 148e12),
        ("b200", "bf16", 2250e12),
        ("gb200", "bf16", 2500e12),
        ("l40s", "bf16", 362e12),
        ("mi300x", "bf16", 1307e12),
        ("tpu-v5p", "bf16", 459e12),
        ("ascend-910b", "bf16", 354e12),
    ],
)
def test_peaks_are_dense(catalog: Catalog, name: str, dtype: Dtype, dense: float) -> None:
    assert catalog.accelerators[name].peak_flops_per_s[dtype] == pytest.approx(dense, rel=0.01)


def test_narrower_types_are_faster_but_not_sparse(catalog: Catalog) -> None:
    ladder: list[tuple[Dtype, Dtype, float]] = [
        ("fp32", "tf32", 20),
        ("tf32", "bf16", 4),
        ("bf16", "fp8", 2.1),
        ("fp8", "fp4", 3.1),
    ]
    for accelerator in catalog.accelerators.values():
        peak = accelerator.peak_flops_per_s
        for wide, narrow, factor in ladder:
            if wide in peak and narrow in peak:
                assert peak[wide] <= peak[narrow] <= factor * peak[wide], (accelerator.name, narrow)


def test_measured_matmuls_stay_near_the_peak_and_below_the_boost_clock(catalog: Catalog) -> None:
    for accelerator in catalog.accelerators.values():
        for dtype, achieved in accelerator.achieved_flops_per_s.items():
            assert 0.4 < achieved / accelerator.peak_flops_per_s[dtype] <= 1.1, (accelerator.name, dtype)


def test_every_device_can_train_in_sixteen_bits(catalog: Catalog) -> None:
    for accelerator in catalog.accelerators.values():
        assert {"bf16", "fp16"} & set(accelerator.peak_flops_per_s), accelerator.name


def test_bandwidths_fall_with_distance(catalog: Catalog) -> None:
    for accelerator in catalog.accelerators.values():
        link = accelerator.scale_up.bandwidth_bytes_per_s
        assert accelerator.memory_bandwidth_bytes_per_s > link, accelerator.name
        if accelerator.host_link_bytes_per_s and accelerator.scale_up.topology != "pcie":
            assert link >= accelerator.host_link_bytes_per_s, accelerator.name
    for server in catalog.servers.values():
        scale_out = server.scale_out_bytes_per_s_per_accelerator
        if scale_out:
            assert scale_out <= catalog.accelerators[server.accelerator].scale_up.bandwidth_bytes_per_s, server.name


def test_units_were_not_slipped(catalog: Catalog) -> None:
    for a in catalog.accelerators.values():
        assert 8 * GIB < a.memory_bytes < 512 * GIB, a.name
        assert 200e9 < a.memory_bandwidth_bytes_per_s < 20e12, a.name
        assert 50 < (a.tdp_w or 300) < 2500, a.name
        best = max(a.peak_flops_per_s.get("bf16", 0), a.peak_flops_per_s.get("fp16", 0))
        assert 30 < best / a.memory_bandwidth_bytes_per_s < 700, a.name
    for s in catalog.servers.values():
        tdp = catalog.accelerators[s.accelerator].tdp_w
        if s.power_w and tdp:
            assert 1.0 < s.power_w / (s.accelerators * tdp) < 2.5, s.name
    for f in catalog.fabrics.values():
        assert 1e9 < f.port_bytes_per_s <= 100e9, f.name
        assert 0.1e-6 < f.latency_s < 1e-4, f.name


@pytest.mark.parametrize(
    ("name", "gib"),
    [("a100-sxm-80g", 80), ("h100-sxm-80g", 79.65), ("h200-sxm", 140.4), ("b200", 179.06), ("ascend-910b", 64)],
)
def test_memory_is_what_the_device_reports(catalog: Catalog, name: str, gib: float) -> None:
    assert catalog.accelerators[name].memory_bytes / GIB == pytest.approx(gib, abs=0.01)


@pytest.mark.parametrize(("whole", "part"), [("mi250x", "mi250x-gcd"), ("ascend-910c", "ascend-910c-die")])
def test_a_module_is_two_devices(catalog: Catalog, whole: str, part: str) -> None:
    module, device = catalog.accelerators[whole], catalog.accelerators[part]
    assert device.memory_bytes == pytest.approx(module.memory_bytes / 2)
    assert device.memory_bandwidth_bytes_per_s == pytest.approx(module.memory_bandwidth_bytes_per_s / 2)
    assert device.peak_flops_per_s["bf16"] == pytest.approx(module.peak_flops_per_s["bf16"] / 2)
    assert device.compute_units == (module.compute_units or 0) / 2


def test_relatives_share_a_family(catalog: Catalog) -> None:
    family = {a.name: a.family for a in catalog.accelerators.values()}
    assert family["h800-sxm-80g"] == family["h20-96g"] == family["h100-sxm-80g"] == "hopper"
    assert family["a800-sxm-80g"] == family["a100-sxm-80g"] == "ampere"
    assert len({family[n] for n in family if n.startswith("ascend-910b")}) == 1


def test_only_networks_with_direct_data_placement_are_training_grade(catalog: Catalog) -> None:
    plain = {f.name for f in catalog.fabrics.values() if not f.training_grade}
    assert plain == {"ethernet-25", "ethernet-100"}


def test_every_number_has_a_public_source_or_is_flagged(catalog: Catalog) -> None:
    for record in hardware(catalog):
        for field in record.model_fields_set - {"sources", "year"}:
            if isinstance(getattr(record, field), bool | str | tuple | None):
                continue
            source = record.sources.get(field, record.sources.get("*", ""))
            flagged = field in {named.split(".")[0] for named in record.estimated}
            reported = field in ("memory_bytes", "tdp_w") and " as " in source  # what the device's own tool states
            assert source.startswith("https://") or reported or flagged, (record.name, field)

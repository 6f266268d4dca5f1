"""The device suite on whatever device there is, with small shapes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="torch is not installed")

from catalogs.catalog import Catalog
from optimizer.calibration.device_bench import device_profile, measure
from optimizer.calibration.profiles import to_yaml

ROOT = Path(__file__).resolve().parents[2]
SMALL = {"shapes": [(128, 128, 64), (256, 256, 128)], "sequence": 64, "copied_bytes": 2**20}


def test_measured_profile_is_a_catalog_record(tmp_path: Path) -> None:
    rates = measure(**SMALL)  # type: ignore[arg-type]
    assert all(rate > 0 for rate in (*rates.gemm.values(), rates.attention, rates.copy))
    assert rates.gather is None
    catalog = Catalog()
    accelerator = catalog.accelerators["h200-sxm"]
    profile = device_profile(catalog, accelerator, "megatron-lm", "bf16", rates, date="2026-11-21")
    assert profile.combination == ("h200-sxm", "megatron-lm", "bf16")
    assert profile.sources["gemm_efficiency"].startswith("measured")
    folder = tmp_path / "profiles"
    folder.mkdir()
    (folder / "mine.yaml").write_text(to_yaml([profile]), encoding="utf-8")
    assert Catalog([tmp_path]).profiles[profile.name] == profile


def test_several_ranks_measure_the_links_too() -> None:
    code = (
        "from optimizer.calibration.device_bench import measure; "
        f"r = measure({SMALL['shapes']}, sequence=64, copied_bytes=2**18); assert r.gather > 0; assert r.ranks == 2"
    )
    common = os.environ | {
        "WORLD_SIZE": "2",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": "29713",
        "PYTHONPATH": str(ROOT),
    }
    ranks = [
        subprocess.Popen([sys.executable, "-c", code], env=common | {"RANK": str(i), "LOCAL_RANK": str(i)}, cwd=ROOT)
        for i in range(2)
    ]
    assert [rank.wait(timeout=120) for rank in ranks] == [0, 0]

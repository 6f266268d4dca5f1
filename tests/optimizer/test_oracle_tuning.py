"""Seconds of layers with adapters against the second implementation of docs/cost-models.md."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from catalogs.catalog import Catalog
from catalogs.inheritance import resolve_profile
from catalogs.model import Moe
from costmodels.adapters import MODULES, Tuning
from costmodels.adapters import Adapters as Columns
from costmodels.architecture import Architecture
from costmodels.device import Device
from costmodels.efficiency import Efficiency
from costmodels.layer import dense_layer, moe_layer
from costmodels.layout import Shard
from costmodels.recipe import Recipe
from costmodels.setting import Setting
from tests.oracle import inputs
from tests.oracle.inputs import Cut, Inputs
from tests.oracle.parameters import Arch
from tests.oracle.tuning import Adapters, tuned_layer

CATALOG = Catalog()
DENSE = CATALOG.models["llama-3-8b"]
EXPERTS = DENSE.model_copy(update={"moe": Moe(experts=8, topk=2, ffn=1792, shared_ffn=3584)})
UNGATED = DENSE.model_copy(update={"gated": False, "parallel_block": True})


@settings(max_examples=40, deadline=None)
@given(
    model=st.sampled_from((DENSE, EXPERTS, UNGATED)),
    names=st.sets(st.sampled_from(MODULES), min_size=1),
    rank=st.sampled_from((4, 16, 256)),
    joint=st.booleans(),
    four_bit=st.booleans(),
    tp=st.sampled_from((1, 2, 8)),
    micro_batch=st.sampled_from((1, 4)),
    precision=st.sampled_from(("bf16", "fp8")),
    seq=st.sampled_from((256, 8192)),
)
def test_seconds_of_a_layer_with_adapters(
    model: object, names: set[str], rank: int, joint: bool, four_bit: bool, tp: int, micro_batch: int,
    precision: str, seq: int,
) -> None:  # fmt: skip
    part, framework = CATALOG.accelerators["h100-sxm-80g"], CATALOG.frameworks["nemo"]
    profile, _ = resolve_profile(CATALOG, part, framework.name, precision)  # type: ignore[arg-type]
    server = CATALOG.server_of(part.name)
    assert server.fabric is not None
    fabric = CATALOG.fabrics[server.fabric]
    ep = 4 if model is EXPERTS else 1
    adapters = Columns.from_values(rank=rank, joint=joint, **{n: float(n in names) for n in MODULES})
    shard = Shard.from_values(
        tp=tp, sp=tp > 1, cp=1, ep=ep, etp=1, micro_batch=micro_batch, selective=0, recompute_layers=0,
        offload_activations=0,
    )  # fmt: skip
    x = Setting(
        Architecture.of(model),  # type: ignore[arg-type]
        shard,
        Recipe.of(framework, precision, "adamw"),  # type: ignore[arg-type]
        Device.of(part, 8, fabric, precision, 5e10),  # type: ignore[arg-type]
        Efficiency.of(profile),
        np.asarray(float(seq)),
        tuning=Tuning.of(adapters, quantised=four_bit),
    )
    moe = model is EXPERTS
    got = (moe_layer if moe else dense_layer)(x).passes
    records = Inputs(part, framework, profile, fabric, 5e10, 8, precision)
    want = tuned_layer(
        Arch(model),  # type: ignore[arg-type]
        inputs.Recipe(records),
        inputs.Device(records),
        Cut(tp=tp, sp=int(tp > 1), cp=1, ep=ep, etp=1, micro_batch=micro_batch),
        seq,
        Adapters(frozenset(names), rank, joint, four_bit),
        moe=moe,
    )
    assert float(got.forward) == pytest.approx(want.total(0), rel=1e-9)
    assert float(got.backward) == pytest.approx(want.total(1), rel=1e-9)
    assert float(got.weight_gradient) == 0

"""Random small jobs with offers of their own: small enough for plain loops over every combination."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import get_args

from catalogs.catalog import Catalog
from catalogs.model import Mla, Model, Moe
from catalogs.offer import Offer
from optimizer.catalog_variant import with_assumptions, with_offers
from optimizer.job import Job, RecoveryName
from optimizer.market import USUAL_FRAMEWORK
from tests.optimizer.site_inputs import with_failures

SHIPPED = Catalog()
DAY_S = 86400.0
TENURES = ("on_demand", "on_demand", "spot", "reserved_1y", "reserved_3y", "capacity_block", "purchase")
RECOMPUTE = ("none", "selective", "full", "partial")
OFFLOAD = ("none", "optimizer", "activations")


def drawn_model(rng: random.Random) -> Model:
    """A model of any make, of a few layers; some are wide enough for memory to bind."""
    heads, layers = rng.choice((4, 8, 12)), rng.randint(2, 8)
    head_dim = rng.choice((64, 100, 128))
    moe = mla = None
    if rng.random() < 0.4:
        experts = rng.choice((2, 4, 8))
        moe = Moe(
            experts=experts,
            topk=rng.randint(1, experts),
            ffn=rng.choice((512, 1408, 8192)),
            shared_ffn=rng.choice((0, 1024)),
            first_dense_layers=(first_dense := rng.randint(0, 1)),
            every=min(rng.choice((1, 1, 2)), layers - first_dense),
        )
    if rng.random() < 0.2:
        mla = Mla(q_lora=rng.choice((0, 512)), kv_lora=256, rope_head_dim=32, nope_head_dim=64, v_head_dim=64)
    windowed = layers // 2 if rng.random() < 0.2 else 0
    return Model(
        name="drawn",
        family="drawn",
        sources={"*": "drawn"},
        date="2025",
        layers=layers,
        hidden=rng.choice((1000, 1024, 2048, 4096, 8192)),
        heads=heads,
        kv_heads=heads // rng.choice((1, 2, 4)),
        head_dim=mla.nope_head_dim + mla.rope_head_dim if mla else head_dim,
        ffn=rng.choice((2816, 8192, 14336, 28672)),
        vocab=rng.choice((32000, 50257)),
        gated=rng.random() < 0.7,
        tied=rng.random() < 0.3,
        norm=rng.choice(("rms", "layer")),
        dropout=rng.random() < 0.2,
        window=512 if windowed else 0,
        window_layers=windowed,
        mtp_layers=rng.choice((0, 0, 0, 1)),
        moe=moe,
        mla=mla,
    )


def drawn_offer(rng: random.Random, accelerator: str, number: int) -> Offer:
    """An offer of any kind: scarce, without a network, by the card, for a term, in another currency."""
    server = SHIPPED.server_of(accelerator)
    tenure = rng.choice(TENURES)
    size = rng.choice((server.accelerators, server.accelerators, 1, 4, 8))
    hourly = rng.uniform(0.5, 4.0)
    unit, price = "accelerator_hour", hourly
    if tenure == "purchase":
        unit, price = "server", 10000 * hourly * size
    elif rng.random() < 0.3:
        unit, price = "server_hour", hourly * size
    cap = rng.choice((None, None, 1, 2))
    return Offer.model_validate(
        {
            "name": f"drawn-{number}",
            "provider": "drawn",
            "instance": rng.choice(("", server.name)),
            "accelerator": accelerator,
            "accelerators_per_server": size,
            "tenure": tenure,
            "price": price,
            "currency": rng.choice(("USD", "USD", "CNY", "EUR")),
            "unit": unit,
            "scale_out_bytes_per_s_per_accelerator": rng.choice((None, 3.125e9, 50e9)),
            "training_grade": rng.choice((None, True, True, False)),
            "max_servers": cap,
            "min_servers": rng.choice((None, None, 2)) if tenure != "purchase" and cap != 1 else None,
            "min_hours": rng.choice((None, None, 24.0, 300.0)) if tenure != "purchase" else None,
            "sources": {"*": "drawn"},
            "date": "2025",
        }
    )


def drawn_job(seed: int) -> tuple[Job, Catalog]:
    """A job and the catalog of its offers; no deadline and no budget yet."""
    rng = random.Random(seed)
    model = drawn_model(rng)
    usable = [a for a in SHIPPED.accelerators.values() if a.vendor in USUAL_FRAMEWORK and SHIPPED.server_of(a.name)]
    accelerators = rng.sample(usable, rng.choice((1, 1, 2)))
    frameworks: tuple[str, ...] = ()
    optimizer = "adamw"
    if rng.random() < 0.5:
        vendors = {a.vendor for a in accelerators}
        known = [f for f in SHIPPED.frameworks.values() if vendors <= set(f.vendors)]
        if known:
            framework = rng.choice(known)
            frameworks, optimizer = (framework.name,), rng.choice(framework.optimizers)
    precision = "auto"
    if rng.random() < 0.3 and all({"fp8", "bf16"} <= set(a.peak_flops_per_s) for a in accelerators):
        precision = "fp8"
    offers = [
        drawn_offer(rng, a.name, 10 * place + number)
        for place, a in enumerate(accelerators)
        for number in range(rng.randint(1, 3))
    ]
    job = Job(
        model,
        tokens=10 ** rng.uniform(8, 11),
        hardware=tuple(a.name for a in accelerators),
        max_accelerators=rng.choice((3, 8, 16, 24, 32)),
        seq=rng.choice((1024, 4096, 8192)),
        global_batch=rng.choice((6, 8, 16, 24, 32)),
        batch_tolerance=rng.choice((0.0, 0.05, 0.25)),
        precision=precision,
        frameworks=frameworks,
        optimizer=optimizer,
        tenures=("on_demand", "spot", "reserved_1y", "reserved_3y", "capacity_block", "purchase"),
        offers=tuple(o.name for o in offers) if rng.random() < 0.5 else (),
        recompute=rng.choice((RECOMPUTE, RECOMPUTE, ("none",), ("full", "partial"))),
        offload=rng.choice((OFFLOAD, ("none",), ("none", "optimizer"))),
        goodput=rng.choice((None, 0.8)),
        confidence=rng.choice((0.5, 0.5, 0.5, 0.9)),
    )
    # Failures that hardly count, and ones so frequent that they decide over the size of the cluster.
    hours, repair = rng.choice((47_300.0, 60.0)), {"repair-s": rng.choice((2e5, 9e3))}
    if job.goodput is None:
        job = replace(job, recovery=rng.choice(get_args(RecoveryName)))
    catalog = with_assumptions(with_offers(SHIPPED, {o.name: o for o in offers}), repair)
    return job, catalog if hours > 60 else with_failures(catalog, hours)


def with_limits(job: Job, seed: int, cheapest: tuple[float, float], fastest: tuple[float, float]) -> Job:
    """The job with limits about its extreme plans without any, given as USD and seconds.

    Some exclude everything, some only the faster or the cheaper of these plans, some nothing; some just hold.
    """
    rng = random.Random(-seed - 1)
    share, slack = rng.choice((-0.1, 0.0, 0.1, 0.3, 0.3, 0.6, 0.6, 1.0, 1.2, None)), 1 + 1e-9
    if share is not None:
        longest = max(cheapest[1], 2 * fastest[1])
        job = replace(job, deadline_s=fastest[1] * (longest / fastest[1]) ** share * slack)
    share = rng.choice((-0.1, 0.3, 0.6, 1.0, *[None] * 8))
    if share is not None:
        job = replace(job, budget_usd=cheapest[0] * (fastest[0] / cheapest[0]) ** share * slack)
    return job

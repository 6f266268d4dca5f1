"""100 jobs against 10,000 offers: cold start and warm repricing.

python benchmarks/repricing.py
"""

from __future__ import annotations

import random
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from catalogs import Catalog
from optimizer.replan.book import Book, Quote
from optimizer.replan.layouts_cache import LayoutCache
from optimizer.replan.reprice import Market
from optimizer.request import read_job

MODELS = ("llama-3.2-1b", "llama-3-8b", "llama-2-13b", "llama-2-70b")
HARDWARE = ("a100-sxm-80g", "h100-sxm-80g", "h200-sxm")


def book(offers: int, seed: int) -> Book:
    rng = random.Random(seed)
    tenures = ("on_demand", "spot", "reserved_1y", "reserved_3y")
    return Book.of(
        Quote(
            f"P{place % 97}", f"r{place // 97}", "box", HARDWARE[place % 3], 8, tenures[place % 4],  # type: ignore[arg-type]
            rng.uniform(0.8, 6.0), "USD", "accelerator_hour", "2026-10-01", "generated",
        )
        for place in range(offers)
    )  # fmt: skip


def main() -> None:
    catalog = Catalog()
    jobs = [
        read_job(catalog, MODELS[n % 4], 1e11 * (1 + n), hardware=HARDWARE, max_accelerators=128, offers=["all"])
        for n in range(100)
    ]
    with tempfile.TemporaryDirectory() as folder:
        for title, seed in (("cold", 1), ("warm: new process, new prices", 2)):
            cache = LayoutCache(Path(folder))
            began, busy = time.perf_counter(), time.process_time()
            market = Market(book(10_000, seed), catalog, cache)
            found = [market.best(job, 1.0, 400 * 86400.0) for job in jobs]
            took, busy = time.perf_counter() - began, time.process_time() - busy
            plans = len(found) - found.count(None)
            print(f"{title}: {took:.2f} s ({busy:.2f} s of CPU), {cache.evaluated} sites evaluated, {plans} plans")
        began = time.perf_counter()
        market = Market(Book.of(replace(q, price=q.price * 1.01) for q in market.book.quotes), catalog, cache)
        for job in jobs:
            market.best(job, 1.0, 400 * 86400.0)
        print(f"warm: same process, new prices: {time.perf_counter() - began:.2f} s")


if __name__ == "__main__":
    main()

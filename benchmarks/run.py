"""Throughput, scaling and latency of the search: `python benchmarks/run.py [--json] [--record] [--only NAME]`.

Every measurement runs in a process of its own, on one core, so that its peak memory is its own. Seconds are processor
time of the quickest of the repetitions unless they are said to be wall-clock.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import numpy as np  # noqa: E402

from catalogs.catalog import Catalog  # noqa: E402
from optimizer.job import Job  # noqa: E402
from optimizer.market import sites  # noqa: E402
from optimizer.request import read_job  # noqa: E402
from optimizer.search import search  # noqa: E402

DAY_S = 86400.0
BEGIN, END = "<!-- search: begin -->", "<!-- search: end -->"
QUESTION = ("plan", "--model", "llama-2-70b", "--tokens", "2T", "--deadline", "90d", "--json")
CLUSTERPLAN = "import sys; from optimizer.cli import main; sys.exit(main(sys.argv[1:]))"
SCALES: tuple[tuple[str, str | None, int, float | None], ...] = (
    ("llama-2-70b", "a800-sxm-80g", 24, None),
    ("llama-2-70b", "a800-sxm-80g", 256, None),
    ("llama-2-70b", "a800-sxm-80g", 4096, 90),
    ("llama-2-70b", None, 128, None),
    ("llama-2-70b", None, 16384, 90),
    ("deepseek-v3", None, 4096, 90),
    ("deepseek-v3", None, 16384, 90),
    ("deepseek-v3", None, 16384, None),
)
"""Model, hardware (None: the whole catalog), largest cluster and deadline in days: 10^4 to 10^9 rows of 2T tokens."""

ENUMERATED = 4
"""Of these, how many are also enumerated without bounds (the next one is the measurement ``enumeration``)."""

LARGE: tuple[tuple[int, float], ...] = ((2048, 120), (4096, 60), (8192, 35), (16384, 20))
"""Largest cluster and deadline in days for 14.8T tokens in bf16: most of the cluster is needed."""


def job_of(catalog: Catalog, model: str, hardware: str | None, **limits: Any) -> Job:
    limits = {"deadline_s": 90 * DAY_S} | limits
    return read_job(catalog, model, limits.pop("tokens", 2e12), hardware=[hardware] if hardware else [], **limits)


def searched(job: Job, catalog: Catalog, *, prune: bool = True) -> dict[str, Any]:
    """One search, catalog records already read."""
    sites(job, catalog)
    start = time.process_time()
    found, _ = sites(job, catalog)
    leaders, certificate = search(job, found, catalog, prune=prune)
    seconds = time.process_time() - start
    return {
        "accelerators": leaders[0].accelerators if leaders else None,
        "sites": len(found),
        "rows": certificate.space,
        "evaluated": certificate.evaluated,
        "process_s": seconds,
        "rows_per_s": certificate.space / seconds,
    }


def enumeration() -> dict[str, Any]:
    """Every row of the 70B question over the whole catalog, none pruned by a bound."""
    catalog = Catalog()
    return searched(job_of(catalog, "llama-2-70b", None), catalog, prune=False)


def loop() -> dict[str, Any]:
    """Rows per second of the plain loop."""
    from benchmarks.plain_loop import plain_loop

    catalog = Catalog()
    return plain_loop(job_of(catalog, "llama-2-70b", "a800-sxm-80g"), catalog, 2000)


def scaling(number: int, *, prune: bool) -> dict[str, Any]:
    """One of the spaces of growing size."""
    catalog = Catalog()
    model, hardware, most, days = SCALES[number]
    deadline_s = days * DAY_S if days else None
    return searched(
        job_of(catalog, model, hardware, max_accelerators=most, deadline_s=deadline_s), catalog, prune=prune
    )


def query() -> dict[str, Any]:
    """The 70B question over the whole catalog and all offers, in process."""
    catalog = Catalog()
    job = job_of(catalog, "llama-2-70b", None)
    return searched(job, catalog)


def process() -> dict[str, Any]:
    """The same question as a command: start of Python, imports, catalog, search, explanation and output."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    start = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", CLUSTERPLAN, *QUESTION], capture_output=True, check=True, cwd=ROOT)
    wall_s = time.perf_counter() - start
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    certificate = json.loads(done.stdout)["certificate"]
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"rows": certificate["space"], "process_s": seconds, "wall_s": wall_s}


def large(most: int, days: float, hardware: str | None, seq: int) -> dict[str, Any]:
    """DeepSeek-V3 on up to so many accelerators."""
    catalog = Catalog()
    limits = {"tokens": 14.8e12, "deadline_s": days * DAY_S, "max_accelerators": most, "seq": seq}
    return searched(job_of(catalog, "deepseek-v3", hardware, **limits), catalog)


def measurements() -> dict[str, Callable[[], dict[str, Any]]]:
    """Every measurement by name."""
    found: dict[str, Callable[[], dict[str, Any]]] = {
        "enumeration": enumeration,
        "plain loop": loop,
        "query": query,
        "process": process,
    }
    for number, (model, hardware, most, limit) in enumerate(SCALES):
        name = f"{model} {hardware or 'catalog'} {most}, {f'{limit:g} days' if limit else 'no deadline'}"
        found[f"pruned {name}"] = lambda number=number: scaling(number, prune=True)
        if number < ENUMERATED:
            found[f"whole {name}"] = lambda number=number: scaling(number, prune=False)
    for most, days in LARGE:
        for hardware in ("h800-sxm-80g", None):
            found[f"14.8T deepseek-v3 {hardware or 'catalog'} {most}"] = lambda m=most, d=days, h=hardware: large(
                m, d, h, 4096
            )
    found["14.8T deepseek-v3 h800-sxm-80g 16384, seq 32768"] = lambda: large(16384, 40, "h800-sxm-80g", 32768)
    return found


def measured(name: str) -> dict[str, Any]:
    """One measurement here, with the peak memory of this process."""
    result = measurements()[name]()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return result | {"peak_memory_bytes": peak}


def apart(name: str, repeat: int) -> dict[str, Any]:
    """The quickest of some repetitions, each in a process of its own on one core."""
    one_core = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    results = []
    for _ in range(repeat):
        command = [sys.executable, __file__, "--here", name]
        done = subprocess.run(command, stdout=subprocess.PIPE, check=True, env=os.environ | one_core)
        results.append(json.loads(done.stdout))
    return min(results, key=lambda one: one["process_s"])


def line(name: str, one: dict[str, Any]) -> list[str]:
    """A measurement as the cells of a table."""
    plan = f"{one['accelerators']:,}" if one.get("accelerators") else ""
    return [
        name,
        f"{one['rows']:,}",
        f"{one['evaluated']:,}" if "evaluated" in one else "",
        f"{one['process_s']:.2f}" + (f" ({one['wall_s']:.2f} wall)" if "wall_s" in one else ""),
        f"{one['rows'] / one['process_s']:,.0f}",
        f"{one['peak_memory_bytes'] / 1e9:.2f}",
        plan,
    ]


def table(report: dict[str, Any]) -> str:
    """All measurements as Markdown."""
    head = ["measurement", "rows", "evaluated", "seconds", "rows per second", "peak GB", "accelerators of the plan"]
    rows = [line(name, one) for name, one in report["measurements"].items()]
    text = "\n".join("| " + " | ".join(cells) + " |" for cells in (head, ["---", *["---:"] * 6], *rows))
    versions = f"{report['date']}, Python {report['python']}, numpy {report['numpy']}, {report['processor']}"
    return f"Measured on {versions}; load average before it {report['load_before']:.1f}.\n\n{text}\n\n" + (
        f"Enumeration against the plain loop: {report['ratio']:,.0f} times as many rows per second.\n"
    )


def processor() -> str:
    """The processor's name where the system tells it."""
    told = Path("/proc/cpuinfo")
    names = [text for text in told.read_text().splitlines() if text.startswith("model name")] if told.exists() else []
    return names[0].partition(":")[2].strip() if names else platform.processor()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--record", action="store_true", help="write the table into docs/benchmarks.md")
    parser.add_argument("--only", metavar="TEXT", default="", help="measurements whose name contains this")
    parser.add_argument("--repeat", type=int, default=3, help="times; the quickest counts")
    parser.add_argument("--here", metavar="NAME", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.here:
        print(json.dumps(measured(options.here)))
        return
    report: dict[str, Any] = {
        "date": datetime.date.today().isoformat(),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "processor": processor(),
        "load_before": os.getloadavg()[0],
        "measurements": {},
    }
    for name in measurements():
        if options.only in name:
            report["measurements"][name] = apart(name, options.repeat)
            if not options.json:
                cells = line(name, report["measurements"][name])
                print(
                    f"{cells[0]:<45} {cells[1]:>14} rows {cells[3]:>18} s {cells[4]:>15} rows/s {cells[5]} GB",
                    flush=True,
                )
    whole, plain = (report["measurements"].get(name) for name in ("enumeration", "plain loop"))
    if whole and plain:
        report["ratio"] = whole["rows_per_s"] / plain["rows_per_s"]
    if options.json:
        print(json.dumps(report, indent=2))
    elif "ratio" in report:
        print(f"enumeration against the plain loop: {report['ratio']:,.0f} times as many rows per second")
    if options.record:
        page = ROOT / "docs" / "benchmarks.md"
        before, begin, rest = page.read_text("utf-8").partition(BEGIN)
        _, end, after = rest.partition(END)
        page.write_text(f"{before}{begin}\n\n{table(report)}\n{end}{after}", "utf-8")


if __name__ == "__main__":
    main()

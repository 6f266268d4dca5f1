"""Write the figures of procurement.md from the comparison that the page is about."""

from __future__ import annotations

import re
from pathlib import Path

from catalogs import Catalog
from optimizer.compare import compare
from optimizer.comparison.comparison import Comparison
from optimizer.comparison.contender import Contender
from optimizer.comparison.ownership import Terms
from optimizer.comparison.rule_of_thumb import rule_of_thumb
from optimizer.request import read_job

PAGE = Path(__file__).parent / "procurement.md"
DAY_S = 86400.0
NAMES = {"a800-sxm-80g": "A800", "ascend-910b": "910B"}
TEXTBOOK_910B_FLOPS_PER_S = 320e12


def comparisons() -> tuple[Comparison, Comparison]:
    """The scenario, purchases charged pro rata and in full."""
    catalog = Catalog()
    job = read_job(catalog, "llama-2-70b", 2e12, deadline_s=90 * DAY_S, hardware=["a800-sxm-80g", "ascend-910b"])
    usual = compare(job, catalog, thumb_parameters=70e9)
    return usual, compare(job, catalog, terms=Terms("full"), thumb_parameters=70e9, draws=10)


def blocks(usual: Comparison, full: Comparison) -> dict[str, str]:
    """The generated parts of the page, by name."""
    return {
        "chain": _chain(usual),
        "answer": _answer(usual, full),
        "bridge": _bridge(usual),
        "capital": _capital(usual),
        "flips": _flips(usual),
    }


def written(page: str, parts: dict[str, str]) -> str:
    """The page with its generated parts replaced."""
    for name, text in parts.items():
        pattern = rf"(<!-- {name}: begin -->\n).*?(\n<!-- {name}: end -->)"
        page, times = re.subn(
            pattern, lambda found, text=text: f"{found[1]}\n{text}\n{found[2]}", page, flags=re.DOTALL
        )
        assert times == 1, name
    return page


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def _of(c: Comparison, hardware: str, tenure: str) -> Contender:
    return next(one for one in c.ranking if (one.hardware, one.tenure) == (hardware, tenure))


def _chain(c: Comparison) -> str:
    a800, ascend = c.thumbs["a800-sxm-80g"], c.thumbs["ascend-910b"]
    textbook = rule_of_thumb(70e9, 2e12, 90 * DAY_S, TEXTBOOK_910B_FLOPS_PER_S)
    peak = c.now.catalog.accelerators["ascend-910b"].peak_flops_per_s["bf16"]
    bought = [_of(c, hardware, "buy") for hardware in ("ascend-910b", "a800-sxm-80g")]
    sites = [one.owned.site for one in bought if one.owned]
    tree, saved = sites[0].network, float(bought[0].survival.checkpoint_bytes)
    powers = sorted(float(site.power_w) / 1e6 for site in sites)
    pue = c.now.catalog.assumption("pue")
    rows = [
        ["Training FLOPs, 6·70e9·2e12", "8.4e23", f"{a800.flops:.1e}".replace("e+", "e"), ""],
        ["Rate for 90 days", "107,500 TFLOP/s", f"{a800.required_flops_per_s / 1e12:,.0f} TFLOP/s",
         "the textbook rounds the seconds"],
        ["A800 at 312 TFLOP/s and 40%", "861", f"{a800.accelerators}", "follows from the rate"],
        ["Whole replicas of 16", "864", f"{a800.whole_replicas}", f"{a800.replicas} replicas either way"],
        ["5% redundancy", "907", f"{a800.with_redundancy}", ""],
        ["Round cluster", "1,024", f"{a800.cluster:,}", ""],
        ["Servers of 8", "128", f"{a800.servers}", ""],
        ["Days on all of them", "76", f"{a800.days:.2f}", ""],
        ["910B", "840", f"{textbook.accelerators} at 320 TFLOP/s, {ascend.accelerators} at {peak / 1e12:.0f}",
         "the rate; and the catalog's peak is another variant's (see the accelerator's notes)"],
        ["Network", '"a fat tree"',
         f"{int(tree.leaves)} leaves + {int(tree.spines)} spines of {int(tree.radix)} ports",
         f"{int(tree.endpoints):,} ports, non-blocking, rail-optimised"],
        ["Storage", "100 GB/s, petabytes",
         f"{float(sites[0].storage_bytes_per_s) / 1e9:.0f} GB/s, {float(sites[0].storage_bytes) / 1e15:.0f} PB",
         f"98 MB/s per card as in the textbook: a checkpoint of {saved / 1e12:.2f} TB takes "
         f"{saved / float(sites[0].storage_bytes_per_s):.0f} s"],
        ["Racks of 40 kW", "32–40", " and ".join(f"{int(site.racks)}" for site in sites) + " (910B and A800)",
         "at the rated power of servers and switches"],
        ["Power", "over 1 MW",
         f"{powers[0]:.2f}–{powers[1]:.2f} MW IT, {powers[0] * pue:.1f}–{powers[1] * pue:.1f} MW with PUE {pue:g}",
         "the textbook does not say which"],
    ]  # fmt: skip
    return _table(["Step", "Textbook", "Here", "Why they differ"], rows)


def _answer(usual: Comparison, full: Comparison) -> str:
    rows = []
    for c, one, suffix in [
        *((usual, one, ", pro rata" if one.owned else "") for one in usual.ranking),
        *((full, one, ", charged in full") for one in full.ranking if one.owned),
    ]:
        plan = one.best
        rows.append([
            f"{one.tenure.capitalize()} {NAMES[one.hardware]}{suffix}", f"{plan.accelerators:,}", f"{plan.days:.1f}",
            f"{plan.p_deadline or 0:.0%}", f"{plan.mfu:.1%}", f"{one.goodput:.1%}", c.money(one.cost_usd),
        ])  # fmt: skip
    return _table(["Choice", "Cards", "Days", "P(deadline)", "MFU", "Goodput", "Bill"], rows)


def _bridge(c: Comparison) -> str:
    rows = []
    for one in c.ranking:
        found = c.bridge(one)
        assert found is not None
        factors = (found.flops, found.mfu, found.goodput, found.date)
        name = f"{one.tenure.capitalize()} {NAMES[one.hardware]}"
        rows.append([name, f"{found.by_hand:.0f}", *(f"× {x:.3f}" for x in factors), f"{found.plan:,}"])
    return _table(["Choice", "By hand", "FLOPs", "MFU", "Failures", "Date", "Plan"], rows)


def _capital(c: Comparison) -> str:
    texts = []
    for hardware in ("ascend-910b", "a800-sxm-80g"):
        one = _of(c, hardware, "buy")
        assert one.owned is not None
        usd = float(sum(one.owned.capital_usd(one.values).values()))
        yuan = usd / c.now.catalog.currencies["cny"].usd
        texts.append(
            f"${usd / 1e6:.0f}M (CNY {yuan / 1e6:.0f}M) for the {one.best.accelerators:,}-card {NAMES[hardware]}"
        )
    return f'The chain\'s "hundreds of millions of yuan" is the capital:\n{texts[0]} cluster and {texts[1]} cluster.'


def _flips(c: Comparison) -> str:
    def flip(offer: str, winner: str, to: str) -> float:
        ends = (f"price of {offer}", winner, to)
        found = next(one for one in c.break_even if (one.parameter, one.winner_from, one.winner_to) == ends)
        return found.flips_at or float("nan")

    rents = {name: _of(c, name, "rent") for name in NAMES}
    buys = {name: _of(c, name, "buy") for name in NAMES}
    a800, ascend = rents["a800-sxm-80g"].offer, rents["ascend-910b"].offer
    bought = buys["a800-sxm-80g"].offer
    use = next(one for one in c.break_even if one.parameter == "utilisation of bought ascend-910b").flips_at
    wins = {one.hardware: outcome.wins for one, outcome in zip(c.ranking, c.outcomes, strict=True) if not one.owned}
    surer = "" if c.surer is None else (
        f"\n* The winner may be late. The cheapest that meets the date with 90% is to {c.surer.tenure}\n  "
        f"{c.surer.best.accelerators:,} {NAMES[c.surer.hardware]} for {c.money(c.surer.cost_usd)}."
    )  # fmt: skip
    prices = [
        flip(a800.name, "ascend-910b rent", "a800-sxm-80g rent"),
        flip(ascend.name, "ascend-910b rent", "a800-sxm-80g rent"),
        flip(bought.name, "ascend-910b buy", "a800-sxm-80g buy") / 1e6,
        flip(ascend.name, "ascend-910b rent", "ascend-910b buy"),
    ]
    high = "no use, however high, makes it cheaper" if use is None else f"a use of {use:.0%} makes it cheaper"
    odds = f"{wins['ascend-910b']:.0%} of the draws, A800 in {wins['a800-sxm-80g']:.0%}"
    return "\n".join(
        (
            f"* Renting A800 wins below CNY {prices[0]:.2f} per card-hour (now {a800.price:g}); renting 910B loses",
            f"  above CNY {prices[1]:.1f} per server-hour (now {ascend.price:g}).",
            f"* Between purchases, A800 wins below CNY {prices[2]:.2f}M a server (now {bought.price / 1e6:.2f}M, of "
            f"{bought.date}).",
            f"* Buying 910B beats renting it above CNY {prices[3]:.1f} per server-hour. At today's rent, {high}.",
            f"* The odds are not one-sided: the 910B rent is the cheapest in {odds}.",
            f"  The rents are second-hand low-confidence prices; use `--range` for them.{surer}",
        )
    )


if __name__ == "__main__":
    PAGE.write_text(written(PAGE.read_text("utf-8"), blocks(*comparisons())), encoding="utf-8")

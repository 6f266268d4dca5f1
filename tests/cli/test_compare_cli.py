"""``clusterplan compare`` from the outside: the scenario of docs/procurement.md, the memo, and refusals."""

from __future__ import annotations

import datetime
import json
import math
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from catalogs import Catalog
from catalogs.errors import DataFileError
from optimizer.cli import main
from optimizer.compare import compare
from optimizer.request import read_job

SCENARIO = ["compare", "-m", "llama-2-70b", "-t", "2T", "-d", "90d", "-H", "a800-sxm-80g,ascend-910b"]
SMALL = ["compare", "-m", "llama-2-7b", "-t", "100B", "-d", "30d", "-H", "a800-sxm-80g", "--draws", "100"]


def run(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    code = main(arguments)
    out, err = capsys.readouterr()
    return code, out, err


@pytest.fixture(scope="module")
def scenario(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    catalog = Catalog()
    job = read_job(catalog, "llama-2-70b", 2e12, deadline_s=90 * 86400.0, hardware=["a800-sxm-80g", "ascend-910b"])
    document = compare(job, catalog, thumb_parameters=70e9).to_json()
    again = compare(job, catalog, thumb_parameters=70e9).to_json()
    assert json.dumps(document, allow_nan=False) == json.dumps(again, allow_nan=False)
    return document


def test_the_chain_of_the_scenario(scenario: dict[str, Any]) -> None:
    chain = scenario["rule_of_thumb"]["a800-sxm-80g"]
    assert chain["flops"] == pytest.approx(8.4e23)
    assert chain["required_flops_per_s"] == pytest.approx(108_025e12, rel=1e-5)
    assert [chain[step] for step in ("accelerators", "whole_replicas", "with_redundancy", "cluster", "servers")] == [
        866,
        864,
        907,
        1024,
        128,
    ]
    assert chain["days"] == pytest.approx(8.4e23 / (312e12 * 1024 * 0.4 * 86400))
    assert round(chain["days"]) == 76


def test_the_answer_beside_it(scenario: dict[str, Any]) -> None:
    ranking = scenario["ranking"]
    assert {(one["hardware"], one["tenure"]) for one in ranking} == {
        (hardware, tenure) for hardware in ("a800-sxm-80g", "ascend-910b") for tenure in ("rent", "buy")
    }
    assert [one["cost_usd"] for one in ranking] == sorted(one["cost_usd"] for one in ranking)
    assert sum(one["wins_probability"] for one in ranking) == pytest.approx(1.0)
    for one in ranking:
        best = one["best"]
        assert best["days"] <= 90
        assert best["fits"]
        assert sum(best["cost"].values()) == pytest.approx(best["cost_usd"], abs=0.005)
        assert 0.5 <= one["p_deadline"] <= 1
        assert one["risks"]
        assert any("of ascend" in risk for risk in one["risks"]) is one["hardware"].startswith("ascend")
        if one["tenure"] == "buy":
            assert one["network"]["tiers"] == 2
            assert one["racks"] > 0
            assert one["storage_bytes"] >= 1e15
    for row in scenario["break_even"]:
        assert {"parameter", "current", "flips_at", "from", "to"} <= set(row)
    for row in scenario["tornado"]:
        assert {"parameter", "low", "high", "cost_low_usd", "cost_high_usd"} <= set(row)
    for row in scenario["assumptions"]:
        assert row["name"]
        assert row["source"]


class Tags(HTMLParser):
    """Collects what a page loads from elsewhere, and whether its tags balance."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.loaded: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in {"meta", "rect"}:
            self.open.append(tag)
        self.loaded += [str(value) for name, value in attrs if name in {"src", "href"}]

    def handle_endtag(self, tag: str) -> None:
        if tag != "rect":
            assert self.open.pop() == tag


@pytest.mark.parametrize(("lang", "heading"), [("en", "Conclusion"), ("zh", "结论")])
def test_the_memo_is_one_file(lang: str, heading: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page, text = tmp_path / "memo.html", tmp_path / "memo.md"
    for path in (page, text):
        code, out, _ = run([*SMALL, "--report", str(path), "--lang", lang], capsys)
        assert code == 0
        assert "a800-sxm-80g" in out
    tags = Tags()
    tags.feed(page.read_text("utf-8"))
    assert tags.open == []
    assert tags.loaded == []
    for one in (page, text):
        written = one.read_text("utf-8")
        first = written.index(heading)
        assert first < written.index("a800-sxm-80g")
        assert "chenjian-cloud-a800-sxm-80g-on-demand" in written
    tables = re.findall(r"^\|.*\|$", text.read_text("utf-8"), flags=re.MULTILINE)
    assert len(tables) > 40


def test_the_chinese_memo_is_chinese(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Names, sources and quoted catalog notes aside, no sentence is left in English."""
    text = tmp_path / "memo.md"
    assert run([*SMALL, "--report", str(text), "--lang", "zh"], capsys)[0] == 0
    for line in text.read_text("utf-8").splitlines():
        *cells, last = re.split(r" \| ?", line.strip("| ")) if line.startswith("|") else ["", line]
        told = re.sub(r"原文:.*", "", " ".join(cells) if len(cells) == 5 else " ".join([*cells, last]))
        told = re.sub(r"\S+ 未说明服务器间网络.*|[^:]* 未说明.*", "", told)
        assert not re.search(r"[a-z]{2,} [a-z]{2,} [a-z]{2,}", told), line


def test_a_region_sets_electricity_and_carbon(capsys: pytest.CaptureFixture[str]) -> None:
    def bought(*more: str) -> tuple[dict[str, Any], dict[str, Any]]:
        found = json.loads(run([*SMALL, "--json", *more], capsys)[1])
        return next(one for one in found["ranking"] if one["tenure"] == "buy"), found

    usual, everywhere = bought()
    there, here = bought("--region", "finland")
    regions = {one["name"]: one for one in everywhere["regions"]}
    assert len(regions) >= 6
    assert regions["finland"]["carbon_kg_per_kwh"] == 0.079
    assert regions["united-states"]["carbon_kg_per_kwh"] == 0.366
    assert regions["us-iowa"]["carbon_kg_per_kwh"] is None
    finland = next(one for one in regions["finland"]["choices"] if one["tenure"] == "buy")
    assert there["cost_usd"] > usual["cost_usd"]
    assert there["best"]["accelerators"] == usual["best"]["accelerators"]
    assert there["best"]["cost"]["electricity"] == pytest.approx(finland["electricity_usd"])
    assert there["carbon_kg"] == pytest.approx(there["energy_kwh"] * 0.079)
    assert any(one["source"].startswith("region finland") for one in here["assumptions"])
    unknown, _ = bought("--region", "us-iowa")
    assert unknown["carbon_kg"] is None
    assert run([*SMALL, "--region", "atlantis"], capsys)[0] == 2


def test_every_difference_from_the_chain_is_a_factor(scenario: dict[str, Any]) -> None:
    for one in scenario["ranking"]:
        steps = one["from_rule_of_thumb"]
        chain = scenario["rule_of_thumb"][one["hardware"]]
        assert math.ceil(steps["by_hand"]) == chain["accelerators"]
        product = steps["by_hand"] * steps["flops"] * steps["mfu"] * steps["goodput"] * steps["date"]
        assert product == pytest.approx(steps["plan"], rel=1e-9)
        assert steps["plan"] == one["best"]["accelerators"]


def test_a_surer_choice_stands_beside_a_winner_that_may_be_late(scenario: dict[str, Any]) -> None:
    assert scenario["ranking"][0]["p_deadline"] < 0.9 <= scenario["surer"]["p_deadline"]
    assert scenario["surer"]["cost_usd"] >= scenario["ranking"][0]["cost_usd"]


def test_json_is_the_same_twice(capsys: pytest.CaptureFixture[str]) -> None:
    first = run([*SMALL, "--json", "--range", "mfu=0.9:1.1"], capsys)[1]
    assert first == run([*SMALL, "--json", "--range", "mfu=0.9:1.1"], capsys)[1]
    assert json.loads(first)["monte_carlo"]["ranges"] == {"mfu": [0.9, 1.1]}


def test_more_confidence_never_costs_less(capsys: pytest.CaptureFixture[str]) -> None:
    costs = []
    for share in ("50%", "90%", "99%"):
        ranking = json.loads(run([*SMALL, "-d", "6d", "--json", "--confidence", share], capsys)[1])["ranking"]
        costs.append(next(one["cost_usd"] for one in ranking if one["tenure"] == "rent"))
        assert all(one["p_deadline"] >= float(share[:-1]) / 100 - 1e-9 for one in ranking)
    assert costs == sorted(costs)


@pytest.mark.parametrize(
    ("more", "code", "message"),
    [
        (["--range", "mfu=1.1:0.9"], 2, "upside down"),
        (["--range", "mfu"], 2, "NAME=LOW:HIGH"),
        (["--range", "fx:xxx=1:2"], 2, "unknown range"),
        (["--charge", "half"], 2, "pro-rata, full"),
        (["--utilisation", "0"], 2, "--utilisation"),
        (["--report", "memo.pdf"], 2, ".html or .md"),
        (["--lang", "fr"], 2, "en, zh"),
        (["--currency", "XXX"], 2, "unknown currency"),
        (["--budget", "$10"], 4, "nothing meets"),
        (["--report", "/nowhere/memo.md"], 2, "No such file"),
    ],
)
def test_refusals(more: list[str], code: int, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    got, out, err = run([*SMALL, *more], capsys)
    assert (got, out) == (code, "")
    assert message in err


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("price: -5", "price"),
        ("price: 0", "price"),
        ("currency: yuan", "currency"),
        ("currency: XXX", "no exchange rate for XXX"),
        ('date: "2999-01"', "2999-01"),
    ],
)
def test_bad_offers_are_refused_by_name(
    change: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    field = change.split(":")[0]
    record = {
        "name": "mine",
        "provider": "me",
        "accelerator": "a800-sxm-80g",
        "accelerators_per_server": 8,
        "tenure": "purchase",
        "price": 100,
        "currency": "USD",
        "unit": "server",
        "date": '"2026"',
        "sources": '{"*": here}',
    }
    lines = [f"{key}: {value}" for key, value in record.items() if key != field]
    (tmp_path / "offers").mkdir()
    text = "- " + "\n  ".join([*lines, change]) + "\n"
    (tmp_path / "offers" / "mine.yaml").write_text(text, "utf-8")
    code, out, err = run([*SMALL, "--catalog", str(tmp_path)], capsys)
    assert code in {2, 3}
    assert out == ""
    assert message in err
    assert re.search(r"offers/mine\.yaml:\d+", err)


def test_the_future_begins_after_today() -> None:
    catalog = Catalog()
    job = read_job(catalog, "llama-2-7b", 100e9, deadline_s=30 * 86400.0, hardware=["a800-sxm-80g"])
    with pytest.raises(DataFileError, match="which is after 2023-01-01"):
        compare(job, catalog, today=datetime.date(2023, 1, 1))


def test_reports_choose_a_currency(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    totals = []
    for code in ("USD", "CNY"):
        text = tmp_path / f"{code}.md"
        assert run([*SMALL, "--report", str(text), "--currency", code, "--lang", "zh"], capsys)[0] == 0
        row = next(line for line in text.read_text("utf-8").splitlines() if line.startswith("| 合计"))
        totals.append([float(cell.replace(",", "")) for cell in row.split("|")[2:-1]])
    rate = Catalog().currencies["cny"].usd
    assert [usd / rate for usd in totals[0]] == pytest.approx(totals[1], rel=1e-4)

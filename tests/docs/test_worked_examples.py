"""The worked-examples page: its Python runs, its commands run, and its summary holds what the code returns."""

from __future__ import annotations

import doctest
import io
import json
import re
import shlex
from collections.abc import Callable
from contextlib import redirect_stdout
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from catalogs import Catalog
from costmodels import envelope, flops
from costmodels.architecture import Architecture
from costmodels.bill import energy_usd
from costmodels.parameters import active_params, total_params
from costmodels.recipe import MOMENT_BYTES
from costmodels.utilisation import hardware_flops_per_token
from optimizer.cli import main

PAGE = Path(__file__).parents[2] / "docs" / "worked-examples.md"
TEXT = PAGE.read_text("utf-8")
ROW = re.compile(
    r"^\| \[(?P<name>[^]]+)\]\(#(?P<anchor>[\w-]+)\) \|[^|]*\|(?P<says>[^|]+)\|(?P<ours>[^|]+)\|$", re.MULTILINE
)
SUMMARY = {row["name"]: row for row in ROW.finditer(TEXT)}

MODELS = Catalog().models
LLAMA = Architecture.of(MODELS["llama-2-70b"])
MIXTRAL = Architecture.of(MODELS["mixtral-8x7b"])
BLOCK = envelope.gpt_shape(np.array(80.0), np.array(8192.0), np.array(64.0), np.array(32000.0))


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", TEXT, flags=re.MULTILINE | re.DOTALL)


COMMANDS = [line for block in blocks("sh") for line in block.splitlines()]


def result(command: str, name: str) -> float:
    """One number of ``clusterplan envelope ... --json``, a command that the page shows."""
    assert f"clusterplan envelope {command}" in COMMANDS
    out = io.StringIO()
    with redirect_stdout(out):
        assert main(["envelope", *shlex.split(command), "--json"]) == 0
    return float(json.loads(out.getvalue())["results"][name])


def state(flags: str) -> float:
    return result(f"memory --params 70B --recipe {flags}", "total_bytes") / 1e9


def size(name: str) -> float:
    command = "size --params 70B --tokens 2T --deadline 90d --peak 312TFLOP/s --mfu 40% --replica 16 --spares 0.05"
    return result(command, name)


def largest(recipe: str) -> float:
    return result(f"model --accelerators 8 --memory 80GB --recipe {recipe}", "params") / 1e9


def saved(tp: float, sp: float, scores: float) -> float:
    seq, one = np.array(4096.0), np.ones(())
    return 80e-9 * float(envelope.layer_activation_bytes(BLOCK, seq, one, *map(np.array, (tp, sp, scores))))


def recomputed() -> float:
    return 80e-9 * float(envelope.recomputed_layer_bytes(BLOCK, *map(np.array, (4096.0, 1.0, 1.0, 0.0))))


def recompute_share() -> float:
    seq, one, zero = np.array(4096.0), np.ones(()), np.zeros(())
    return float(hardware_flops_per_token(LLAMA, seq, one, zero) / hardware_flops_per_token(LLAMA, seq, zero, zero)) - 1


DAYS = "days --params 70B --tokens 15T --accelerators 1024 --peak 989.5TFLOP/s --mfu 50%"
SIZE_910B = "size --params 70B --tokens 2T --deadline 90d --peak 320TFLOP/s --mfu 40%"

# What a text says (typed in from it) and what the code returns, by the row of the summary.
EXAMPLES: dict[str, tuple[tuple[float, ...], Callable[[], Any]]] = {
    "70B on 15T tokens, compute": ((6.3e21,), lambda: result(DAYS, "flops")),
    "1,024 H100 at 50%, a day": ((4.4e19,), lambda: result(DAYS, "effective_flops_per_s") * 86400),
    "70B on 15T tokens, 1,024 H100 at 50%": ((146, 144), lambda: result(DAYS, "days")),
    "GPT-3, compute": ((3.14e23,), lambda: flops.six_nd_flops(np.array(175e9), np.array(300e9))),
    "active share of a mixture of experts": ((0.25,), lambda: active_params(MIXTRAL) / total_params(MIXTRAL)),
    "speed-up of FP8 over BF16": ((2,), lambda: 14.65 / 10.08),
    "70B on 2T tokens, compute": ((8.4e23,), lambda: flops.six_nd_flops(np.array(70e9), np.array(2e12))),
    "effective rate for 90 days": ((107_500,), lambda: size("effective_flops_per_s") / 1e12),
    "A800 at 40%, before rounding": ((861,), lambda: size("needed")),
    "Ascend 910B at 40%, before rounding": ((840,), lambda: result(SIZE_910B, "needed")),
    "replicas of 16": ((54,), lambda: size("replicas")),
    "accelerators of whole replicas": ((864,), lambda: size("working")),
    "with 5% spares": ((907,), lambda: size("with_spares")),
    "whole servers": ((1024,), lambda: size("accelerators")),
    "1,024 A800 at 40%": ((76,), lambda: envelope.training_days(*map(np.array, (70e9, 2e12, 312e12, 1024.0, 0.4)))),
    "largest model, 8 H100, 16 bytes": ((40,), lambda: largest("fp32")),
    "largest model, 8 H100, 18 bytes": ((40,), lambda: largest("fp32-gradients")),
    "largest model, 8 H100, 14 bytes": ((), lambda: envelope.largest_params(*map(np.array, (80e9, 8.0, 14.0))) / 1e9),
    "largest model, 8 H100, not sharded": ((40,), lambda: largest("fp32") / 8),
    "state of 70B, 14 bytes": ((980,), lambda: state("no-master")),
    "state of 70B, 16 bytes": ((1120,), lambda: state("fp32")),
    "state of 70B, 18 bytes": ((), lambda: state("fp32-gradients")),
    "saving of Lion over AdamW": ((0.5,), lambda: (MOMENT_BYTES["adamw"] - MOMENT_BYTES["lion"]) / 16),
    "state over TP 8": ((122.5,), lambda: state("no-master --tp 8")),
    "parameters over TP 8, PP 4": ((2.18,), lambda: 70 / (8 * 4)),
    "state over TP 8, PP 8": ((122.5,), lambda: state("no-master --tp 8 --pp 8")),
    "state over TP 4, PP 4": ((), lambda: state("no-master --tp 4 --pp 4")),
    "state over TP 4, PP 4, 18 bytes": ((), lambda: state("fp32-gradients") / 16),
    "ZeRO-1 of 70B over 64": ((), lambda: state("no-master --dp 64 --zero 1")),
    "ZeRO-2 of 70B over 64": ((), lambda: state("no-master --dp 64 --zero 2")),
    "ZeRO-3 of 70B over 64": ((), lambda: state("no-master --dp 64 --zero 3")),
    "LoRA on 70B": ((), lambda: state("no-master --lora-params 32.768M")),
    "Llama-2-70B, one sequence, training": (
        (4.66e15,),
        lambda: envelope.training_flops(LLAMA, np.array(4096.0), np.ones(())),
    ),
    "ratio of MLP to attention term": ((16,), lambda: 3 * LLAMA.ffn / (2 * LLAMA.hidden)),
    "extra work of full recomputation": ((0.2, 0.3), recompute_share),
    "activations of 70B by 2sbP/L": ((7.168,), lambda: saved(1, 0, 1)),
    "activations of 70B, TP 8, all saved": ((145.0,), lambda: saved(8, 0, 1)),
    "activations of 70B, TP 8, sequence parallel": ((4.36,), lambda: saved(8, 1, 1)),
    "activations of 70B, fully recomputed": ((1,), recomputed),
    "servers' power, 1,024 A800": ((1,), lambda: 128 * 6.5e3 / 1e6),
    "three years' electricity": (
        (),
        lambda: energy_usd(*map(np.array, (128.0, 6.5e3, 3 * 365 * 86400.0, 1.54, 0.0861))),
    ),
}


def test_the_summary_has_the_examples_that_are_recomputed() -> None:
    assert list(SUMMARY) == list(EXAMPLES)


@pytest.mark.parametrize("name", EXAMPLES)
def test_a_figure_of_the_summary(name: str) -> None:
    says, ours = EXAMPLES[name]
    row = SUMMARY[name]
    assert parse(row["says"]) == [Decimal(str(figure)) for figure in says]
    (shown,) = parse(row["ours"])
    half_digit = 10.0 ** int(shown.as_tuple().exponent) / 2
    assert float(ours()) == pytest.approx(float(shown), rel=0, abs=half_digit * 1.001)


def parse(cell: str) -> list[Decimal]:
    """The numbers of a cell; a comma groups thousands unless a space follows it."""
    return [Decimal(text.replace(",", "")) for text in cell.strip().split(", ") if text != "–"]


def test_every_row_of_the_summary_leads_to_a_section() -> None:
    headings = re.findall(r"^#+ (.+)$", TEXT, flags=re.MULTILINE)
    anchors = {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}
    assert {row["anchor"] for row in SUMMARY.values()} <= anchors


def test_the_python_of_the_page_runs_as_shown() -> None:
    """Blocks share their names, as if typed one after the other."""
    names: dict[str, Any] = {}
    runner = doctest.DocTestRunner(verbose=False)
    found = io.StringIO()
    for block in blocks("python"):
        line = TEXT[: TEXT.index(block)].count("\n")
        runner.run(
            doctest.DocTestParser().get_doctest(block, names, PAGE.name, str(PAGE), line),
            out=found.write,
            clear_globs=False,
        )
        names.update(runner.test.globs)
    assert runner.failures == 0, found.getvalue()
    assert runner.tries > 40


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_of_the_page_runs(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    program, *arguments = shlex.split(command)
    assert program == "clusterplan"
    assert main(arguments) == 0
    assert capsys.readouterr().err == ""

"""Write the figures of docs/questions.md anew: every block between its marks, by the commands of the page.

    python docs/answer_questions.py

The prose of the page is left alone; what a block says comes from the JSON of the commands alone.
"""

from __future__ import annotations

import json
import math
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

PAGE = Path(__file__).parent / "questions.md"
GIB, DAY_S, CARD = 2.0**30, 86400.0, 80e9
BLOCK = r"(<!-- {name}: begin -->\n)(.*?)(<!-- {name}: end -->)"

Ask = Callable[[str], Any]
"""Runs a command of the page and gives its JSON."""

FIT = "clusterplan fit model -H h100-sxm-80g -a 8 --step 1G"
TUNE = "clusterplan finetune -m llama-2-70b -H a800-sxm-80g --examples 50k --mean-tokens 512 --method"
LONG = "-m 70B -t 15T -H h100-sxm-80g"
DOCTOR = "clusterplan doctor -m llama-2-70b -H a800-sxm-80g --tp 8 --pp 2 --dp 4 --micro-batch 4 --global-batch 512"
NO_PLAN = "clusterplan plan -m llama-2-70b -t 2T -d 30d -H a800-sxm-80g --max-accelerators 1024"
LEVERS = "clusterplan levers -m llama-2-70b -t 2T -H h100-sxm-80g -a 512"
SHOWN_LEVERS = 6
STATES = ("frozen_weights", "weights", "gradients", "master_weights", "optimizer")


def table(head: list[str], rows: list[list[str]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def commands(*lines: str) -> str:
    """The commands as a shell block."""
    return "\n```sh\n" + "".join(f"{line}\n" for line in lines) + "```\n"


def days(one: Any) -> str:
    """Days with their interval."""
    low, high = one["days_interval"]
    return f"{one['days']:.0f} ({low:.0f} to {high:.0f})"


def largest(ask: Ask) -> str:
    """The largest model on eight H100."""
    rule = "clusterplan envelope model -a 8 --memory 80GB --recipe fp32"
    asked = {
        "FSDP (fp32 weights, gradients, moments: 16 B/param)": f"{FIT} --no-offload -f torchtitan-fsdp2",
        "Megatron-LM (bf16 weights; fp32 gradients, master copy, moments: 18 B/param)": f"{FIT} --no-offload",
        "Megatron-LM, the optimizer in host memory": FIT,
    }
    rows = [
        [
            "the document's: 16 B/param, perfectly shared, nothing else",
            f"{ask(rule)['results']['params'] / 1e9:.0f}B",
            "",
        ]
    ]
    for text, command in asked.items():
        found = ask(command)
        one = found["configuration"]
        kept = f"{one['memory']['activations'] / GIB:.1f} GiB of activations, MFU {one['mfu']:.0%}"
        rows.append([f"ours: {text}", f"{found['value'] / 1e9:.0f}B", kept])
    return table(["assumption", "largest model", "at 4096 tokens"], rows) + commands(rule, *asked.values())


def long_run(ask: Ask) -> str:
    """70B on 15T tokens with 1,024 H100."""
    rule = "clusterplan envelope days --params 70B -t 15T -a 1024 --peak 989.5TFLOP/s --mfu 50%"
    ours, size = f"clusterplan when {LONG} -a 1024", f"clusterplan size {LONG} -d 143.9d"
    found, (fewest,) = ask(ours), ask(size)["sizes"]
    one = found["configuration"]
    rows = [
        ["the document's: 6·N·D, MFU 50%, nothing ever fails", f"{ask(rule)['results']['days']:.1f}", "50%", "1,024"],
        ["ours: fastest layout, attention and failures counted", days(found), f"{one['mfu']:.0%}", "1,024"],
        ["ours: to keep the document's date", days(fewest["configuration"]), f"{fewest['configuration']['mfu']:.0%}",
         f"{fewest['to_meet']:,}"],
    ]  # fmt: skip
    return table(["assumption", "days (90%)", "MFU", "H100"], rows) + commands(rule, ours, size)


def fine_tuning(ask: Ask) -> str:
    """Fine-tuning a 70B on A800."""
    found = {method: ask(f"{TUNE} {method}") for method in ("full", "lora", "qlora")}
    adapters = found["lora"]["trainable_params"]
    full = "clusterplan envelope memory --params 70B --recipe no-master"
    lora = f"{full} --lora-params {adapters / 1e6:.1f}M"
    total = {
        "full": ask(full)["results"]["total_bytes"],
        "lora": ask(lora)["results"]["total_bytes"],
        "qlora": 0.5 * 70e9,
    }
    said = {"full": "14 · P", "lora": "2 · P + 14 · P'", "qlora": "0.5 · P"}
    names = {"full": "full", "lora": "LoRA, rank 16, all matrices", "qlora": "QLoRA: nf4, double quantisation"}
    rows = []
    for method, one in found.items():
        c = one["configuration"]
        memory = c["memory"]
        state = sum(memory.get(part, 0.0) for part in STATES)
        rows.append(
            [
                names[method],
                f"{said[method]} = {total[method] / 1e9:.0f} GB: {math.ceil(total[method] / CARD)} card(s)",
                f"{c['accelerators']} card(s)"
                + (", optimizer in host memory" if c["layout"]["offload"] == "optimizer" else ""),
                f"{state / GIB:.0f} of state, {(memory['activations'] + memory['working']) / GIB:.0f} of activations",
                f"{one['hours']:.0f}",
            ]
        )
    head = ["method", "the document's", "ours: fewest that fit", "GiB of a card", "hours"]
    return table(head, rows) + commands(full, lora, *(f"{TUNE} {method}" for method in found))


def sizing(ask: Ask) -> str:
    """70B on 2T tokens in 90 days."""
    command = "clusterplan size -m llama-2-70b -t 2T -d 90d -H a800-sxm-80g,ascend-910b3"
    said = {"a800-sxm-80g": ("A800", "866"), "ascend-910b3": ("Ascend 910B", "844 (320 TFLOP/s)")}
    rows = [
        [*said[one["hardware"]], f"{one['to_meet']:,}", f"{one['configuration']['mfu']:.0%}", f"{one['to_fit']:,}"]
        for one in ask(command)["sizes"]
    ]  # fmt: skip
    head = ["accelerator", "the document's, at 40% MFU", "ours", "MFU", "fewest that fit at all"]
    return table(head, rows) + commands(command)


def out_of_memory(ask: Ask) -> str:
    """Why a layout runs out of memory, and its repairs."""
    found = ask(DOCTOR)
    stage = found["stages"][0]
    most = sorted(stage["bytes"].items(), key=lambda part: -part[1])[:3]
    parts = ", ".join(f"{name.replace('_', ' ')} {size / GIB:.1f}" for name, size in most)
    over = stage["over_bytes"] / GIB
    text = f"Stage {stage['stage']} is {over:.1f} GiB over, {stage['when']}.\nMost of it: {parts} GiB.\n\n"
    rows = [["; ".join(one["changes"]), f"{one['throughput'] - 1:+.1%}"] for one in found["repairs"][:4]]
    return text + table(["repair that fits", "throughput"], rows) + commands(DOCTOR)


def no_plan(ask: Ask) -> str:
    """A request that no plan meets."""
    rows = [
        [
            one["axis"],
            one["change"],
            f"{one['configuration']['days']:.1f}",
            f"${one['configuration']['cost_usd'] / 1e6:.2f}M",
        ]
        for one in ask(NO_PLAN)["nearest"]
    ]
    return table(["relaxed", "change", "days", "cost"], rows) + commands(NO_PLAN)


def levers(ask: Ask) -> str:
    """What helps most, alone and together."""
    found = ask(LEVERS)
    base = found["base"]
    rows = [["as it is", f"{base['days']:.1f}", "", f"{base['mfu']:.0%}"]]
    chosen = [*found["single"][:SHOWN_LEVERS], *([found["combined"]] if found["combined"] else [])]
    for one in chosen:
        together = one is found["combined"]
        name = "all that help, together" if together else one["name"]
        c = one["configuration"]
        rows.append([name, f"{c['days']:.1f}", f"{one['days'] - 1:+.0%}", f"{c['mfu']:.0%}"])
    last = f"\nMultiplied, the single effects would be {found['product'] - 1:+.0%}.\n"
    return table(["lever", "days", "change", "MFU"], rows) + last + commands(LEVERS)


BLOCKS: dict[str, Callable[[Ask], str]] = {
    "largest": largest,
    "long run": long_run,
    "fine-tuning": fine_tuning,
    "sizing": sizing,
    "out of memory": out_of_memory,
    "no plan": no_plan,
    "levers": levers,
}


def block(page: str, name: str) -> str:
    """What stands in a block of the page."""
    (found,) = re.findall(BLOCK.format(name=name), page, re.DOTALL)
    return str(found[1])


def replaced(page: str, name: str, text: str) -> str:
    """The page with a block anew."""
    return re.sub(BLOCK.format(name=name), lambda found: found[1] + text + found[3], page, flags=re.DOTALL)


def asked(command: str) -> Any:
    """The JSON of a command, run as a user runs it; a request without a plan answers too."""
    program = "import sys; from optimizer.cli import main; sys.exit(main())"
    arguments = [sys.executable, "-c", program, *shlex.split(command)[1:], "--json"]
    done = subprocess.run(arguments, capture_output=True, text=True, check=False)
    if done.returncode not in (0, 4):
        raise SystemExit(f"{command}\n{done.stderr}")
    return json.loads(done.stdout)


def main() -> None:
    """Write all blocks anew."""
    page = PAGE.read_text(encoding="utf-8")
    for name, answer in BLOCKS.items():
        page = replaced(page, name, answer(asked))
    PAGE.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()

"""Draw the terminal picture of the README from the real output of its first command."""

from __future__ import annotations

import io
import re
import subprocess
import sys
from pathlib import Path

from rich.console import Console
from rich.text import Text

COMMAND = "clusterplan plan --model llama-2-70b --tokens 2T --deadline 90d --hardware a800-sxm-80g,ascend-910b"
WIDTH = 132
PICTURE = Path(__file__).parent / "images" / "plan.svg"


def main() -> None:
    """Run the command and save its answer, up to the reasons, as an SVG that needs nothing from the network."""
    program = "import sys; from optimizer.cli import main; sys.exit(main())"
    arguments = [sys.executable, "-c", program, *COMMAND.split()[1:]]
    output = subprocess.run(arguments, capture_output=True, text=True, check=True).stdout
    console = Console(record=True, width=WIDTH, file=io.StringIO())
    console.print(Text(f"$ {COMMAND}", style="bold green"))
    for line in output.split("\nAssumptions")[0].splitlines():
        console.print(Text(line.rstrip()[:WIDTH]), soft_wrap=True)
    svg = re.sub(r"@font-face \{.*?\}\s*", "", console.export_svg(title="clusterplan"), flags=re.DOTALL)
    svg = svg.replace("Fira Code, monospace", "Menlo, Consolas, DejaVu Sans Mono, monospace")
    PICTURE.write_text(svg, encoding="utf-8")


if __name__ == "__main__":
    main()

"""Whole runs of `clusterplan replan` killed at random moments, checked against the same nights uninterrupted.

python -m benchmarks.crash_trials [--trials 200] [--postgresql]
"""

from __future__ import annotations

import argparse
import tempfile
from contextlib import ExitStack
from itertools import count
from pathlib import Path

from tests.replan import crash, postgresql


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=200)
    parser.add_argument("--postgresql", action="store_true", help="on a server of its own, rather than SQLite files")
    wanted = parser.parse_args()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        numbers = count()
        if wanted.postgresql:
            fresh = stack.enter_context(postgresql.server()).create
        else:
            fresh = lambda: str(folder / f"history{next(numbers)}.db")  # noqa: E731
        figures = crash.trials(wanted.trials, folder, fresh)
    killed, ended = figures.where["killed"], figures.where["ended before"]
    print(
        f"{killed} runs killed of {killed + ended}, {figures.run_s:.1f} s each; {figures.recorded} recorded their night"
    )
    print(f"{figures.nights} nights recorded, all as uninterrupted ones, with their books and standing plans")
    print(f"{figures.posts} messages received, {figures.again} of them a second time with the same key, none missing")


if __name__ == "__main__":
    main()

"""The ``clusterplan`` command: arguments in, exit code out, and every deliberate error as one line."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Sequence

INTERRUPTED = 130
"""Exit code after Ctrl-C, as shells have it (128 + SIGINT)."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run ``clusterplan`` with ``argv`` (default: the arguments of the process) and return its exit code.

    ======  =========================================================
    code    meaning
    ======  =========================================================
    0       done
    1       another failure, or the output could not be written
    2       a flag, argument, name or combination that makes no sense
    3       a catalog, model or run file is broken
    4       no plan meets the constraints
    130     interrupted
    ======  =========================================================

    A traceback is always a defect, so an error that nobody raised on purpose is left to show one.
    """
    from optimizer.cli.app import run
    from optimizer.cli.output import complain

    try:
        code = run(sys.argv[1:] if argv is None else list(argv))
        sys.stdout.flush()
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        _discard_output()
        return 1
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        _discard_output()
        complain("no space left on the disk; the output is not whole")
        return 1
    except Exception as error:
        from catalogs.errors import ClusterplanError

        if not isinstance(error, ClusterplanError):
            raise
        complain(str(error))
        return error.exit_code
    return code


def _discard_output() -> None:
    """Point standard output at nothing, so that the interpreter's last flush stays quiet too."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)

"""The exception tree of clusterplan: one root, one class per exit code.

Every message says what is wrong, where (file and line for data files), and what would fix it.
The command line turns each class into its documented exit code; a traceback is always a defect.
"""

from __future__ import annotations


class ClusterplanError(Exception):
    """Root of every error that clusterplan raises on purpose."""

    exit_code = 1


class UsageError(ClusterplanError):
    """A flag, argument or job that makes no sense as given (exit code 2)."""

    exit_code = 2


class UnknownNameError(UsageError):
    """A name that no catalog holds; the message suggests the nearest ones (exit code 2)."""


class UnsupportedError(UsageError):
    """A combination that exists nowhere: the framework, accelerator or model cannot do it (exit code 2)."""


class DataFileError(ClusterplanError):
    """A catalog, model or run file that is broken; the message names file and line (exit code 3)."""

    exit_code = 3


class RefutedError(ClusterplanError):
    """A proof failed: the search without bounds found something better (a defect; exit code 1)."""


class InfeasibleError(ClusterplanError):
    """No plan meets the constraints (exit code 4)."""

    exit_code = 4

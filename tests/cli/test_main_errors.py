"""Exit codes, one-line errors, and a quiet end when interrupted or unread."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

import optimizer.cli.app as app_module
from catalogs.errors import (
    ClusterplanError,
    DataFileError,
    InfeasibleError,
    UnknownNameError,
    UnsupportedError,
    UsageError,
)
from optimizer.cli import options
from optimizer.cli.output import emit_json
from tests.cli.conftest import Cli

ROOT = Path(__file__).parents[2]
COMMAND = [sys.executable, "-c", "import sys; from optimizer.cli import main; sys.exit(main())"]


def with_command(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    """Register a command ``fail`` that raises ``error``."""

    def fail() -> None:
        raise error

    monkeypatch.setattr(app_module, "COMMANDS", (*app_module.COMMANDS, lambda app: app.command("fail")(fail)))


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ClusterplanError("went wrong"), 1),
        (UsageError("went wrong"), 2),
        (UnknownNameError("went wrong"), 2),
        (UnsupportedError("went wrong"), 2),
        (DataFileError("went wrong"), 3),
        (InfeasibleError("went wrong"), 4),
    ],
)
def test_deliberate_errors_are_one_line_and_their_exit_code(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, error: ClusterplanError, code: int
) -> None:
    with_command(monkeypatch, error)
    assert cli("fail") == (code, "", "error: went wrong\n")


def test_markup_and_long_lines_in_messages_are_printed_as_they_are(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    message = "[bold]no[/bold] [/red] :smile: " + "x" * 300
    with_command(monkeypatch, DataFileError(message))
    assert cli("fail").err == f"error: {message}\n"


def test_an_error_that_nobody_raised_on_purpose_is_not_hidden(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    with_command(monkeypatch, ZeroDivisionError("a defect"))
    with pytest.raises(ZeroDivisionError, match="a defect"):
        cli("fail")


def test_interrupt(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    with_command(monkeypatch, KeyboardInterrupt())
    assert cli("fail").code == 130


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("--nope",), "error: No such option: --nope\ntry 'clusterplan --help'"),
        (("frobnicate",), "error: No such command 'frobnicate'"),
        (("catalog", "show"), "error: Missing argument"),
        (("catalog", "list", "models", "more"), "error: Got unexpected extra argument"),
        (("catalog", "list", "--json=maybe"), "error: "),
    ],
)
def test_usage_errors(cli: Cli, arguments: tuple[str, ...], expected: str) -> None:
    outcome = cli(*arguments)
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err.startswith(expected)


@pytest.mark.parametrize("arguments", [(), ("catalog",)])
def test_a_group_without_a_command_shows_its_help(cli: Cli, arguments: tuple[str, ...]) -> None:
    outcome = cli(*arguments)
    assert outcome.code == 2
    assert "Usage: clusterplan" in outcome.out + outcome.err
    assert "error:" not in outcome.err


@pytest.mark.parametrize("arguments", [("--help",), ("-h",), ("catalog", "--help"), ("catalog", "check", "-h")])
def test_help(cli: Cli, arguments: tuple[str, ...]) -> None:
    outcome = cli(*arguments)
    assert (outcome.code, outcome.err) == (0, "")
    assert "Usage: clusterplan" in outcome.out


def test_version(cli: Cli) -> None:
    assert cli("--version") == (0, f"clusterplan {version('clusterplan')}\n", "")


def test_completion_script(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION", "1")
    outcome = cli("--show-completion", "bash")
    assert outcome.code == 0
    assert "_CLUSTERPLAN_COMPLETE" in outcome.out


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_json_refuses_what_json_cannot_say(number: float) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        emit_json({"x": number})


def test_json_keeps_order_digits_and_letters(capsys: pytest.CaptureFixture[str]) -> None:
    emit_json({"b": 0.1, "a": [1e22, 3], "ü": "¥"})
    assert capsys.readouterr().out == '{\n  "b": 0.1,\n  "a": [\n    1e+22,\n    3\n  ],\n  "ü": "¥"\n}\n'


def option_probe() -> typer.Typer:
    app = typer.Typer()

    @app.command()
    def probe(
        tokens: options.Tokens,
        deadline: options.Deadline = None,
        hardware: options.Hardware = None,
        budget: options.Budget = None,
        seq: options.Seq = None,
        max_accelerators: options.MaxAccelerators = None,
        precision: options.Precision = None,
        top: options.Top = 3,
    ) -> None:
        typer.echo(repr((tokens, deadline, hardware, budget, seq, max_accelerators, precision, top)))

    return app


def test_shared_options_read_human_quantities() -> None:
    arguments = ["-t", "2T", "-d", "90d", "-H", "a,b", "-H", "c,a", "-b", "¥20M", "--seq", "128Ki", "-p", "BF16"]
    arguments += ["--max-accelerators", "4k", "-n", "5"]
    result = CliRunner().invoke(option_probe(), arguments, catch_exceptions=False)
    money = "Money(amount=20000000.0, currency='CNY')"
    assert result.stdout == f"(2000000000000.0, 7776000.0, ['a', 'b', 'c'], {money}, 131072, 4000, 'bf16', 5)\n"


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ("-t many", "--tokens: 'many' is not a number"),
        ("-t -5", "--tokens: '-5' must be above zero"),
        ("-t 2T -d 90", "--deadline: '90' has no unit"),
        ("-t 2T -b lots", "--budget: 'lots' is not an amount of money"),
        ("-t 2T --seq 4k", "--seq: unit 'k' of '4k' makes no sense here; use one of Ki, Mi"),
        ("-t 2T --max-accelerators 1.5", "--max-accelerators: '1.5' must be a whole number"),
        ("-t 2T -p bf17", "unknown precision 'bf17'; did you mean bf16"),
    ],
)
def test_shared_options_refuse_nonsense(arguments: str, expected: str) -> None:
    with pytest.raises(UsageError) as caught:
        CliRunner().invoke(option_probe(), arguments.split(), catch_exceptions=False)
    assert str(caught.value).startswith(expected)


def environment(**changes: str) -> dict[str, str]:
    return {k: v for k, v in os.environ.items() if k != "CLUSTERPLAN_CATALOG"} | {"PYTHONPATH": str(ROOT)} | changes


def test_a_process_ends_with_the_exit_code_and_no_traceback(tmp_path: Path) -> None:
    finished = subprocess.run(
        [*COMMAND, "catalog", "list", "--catalog", str(tmp_path / "none")],
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert finished.returncode == 3
    assert finished.stderr == f"error: {tmp_path / 'none'}: no such catalog directory\n"


def test_a_reader_that_goes_away_is_no_traceback() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    finished = subprocess.run(
        [*COMMAND, "catalog", "list", "offers", "--json"],
        env=environment(),
        stdout=writer,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    os.close(writer)
    assert (finished.returncode, finished.stderr) == (1, "")


def test_json_is_utf8_whatever_the_locale() -> None:
    ascii_only = environment(
        LC_ALL="C", PYTHONUTF8="0", PYTHONCOERCECLOCALE="0", PYTHONIOENCODING="ascii", NO_COLOR="1"
    )
    finished = subprocess.run(
        [*COMMAND, "catalog", "list", "accelerators", "--json"], env=ascii_only, capture_output=True, check=False
    )
    assert (finished.returncode, finished.stderr) == (0, b"")
    finished.stdout.decode("utf-8")


def test_help_imports_nothing_heavy() -> None:
    script = (
        "import sys; from optimizer.cli import main; main(['--help']); "
        "heavy = {'numpy', 'pydantic', 'optuna', 'networkx', 'scipy', 'torch', 'yaml'} & set(sys.modules); "
        "sys.exit(', '.join(heavy) or 0)"
    )
    finished = subprocess.run(
        [sys.executable, "-c", script], env=environment(), capture_output=True, text=True, check=False
    )
    assert (finished.returncode, finished.stderr) == (0, "")


def test_no_color_is_respected(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    with_command(monkeypatch, UsageError("red"))
    assert cli("fail").err != "error: red\n"
    monkeypatch.setenv("NO_COLOR", "1")
    assert "31m" not in cli("fail").err

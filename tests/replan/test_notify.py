"""News goes out once, waits when it cannot, fails nothing, and holds no secret."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from catalogs.errors import ClusterplanError
from optimizer.replan.history import META, History
from optimizer.replan.notify import Channel, deliver, messages
from optimizer.replan.notify_send import MailServer
from tests.replan.nights import Nights
from tests.replan.receivers import Mailbox, Webhook, mailbox, webhook
from tests.replan.test_history import night

SECRET = "T0B0xyzzy"


@pytest.fixture
def hook(monkeypatch: pytest.MonkeyPatch) -> Iterator[Webhook]:
    with webhook() as running:
        monkeypatch.setenv("HOOK", running.url(f"/{SECRET}\n"))
        monkeypatch.setenv("HOOK_TOKEN", f"token-{SECRET}\n")
        yield running


@pytest.fixture
def box() -> Iterator[Mailbox]:
    with mailbox() as running:
        yield running


def stored(url: str) -> str:
    """Everything that a history holds, as text."""
    history = History(url)
    with history.engine.connect() as connection:
        return "\n".join(str(list(connection.execute(sa.select(table)))) for table in META.tables.values())


def test_news_goes_to_every_channel_once_and_a_calm_night_sends_nothing(
    nights: Nights, hook: Webhook, box: Mailbox
) -> None:
    report = nights.folder / "night.html"
    to = (
        "--report", str(report), "--webhook", "HOOK", "--slack", "HOOK",
        "--email", "ops@example.com", "--smtp", f"127.0.0.1:{box.port}", "--sender", "planner@example.com",
    )  # fmt: skip
    first = nights.run("2026-10-02", *to)
    assert first.code == 10
    assert [one["sent"] for one in first.out["messages"]] == [1, 1, 1, 1]
    slack, generic = sorted(hook.bodies, key=len)
    assert slack.keys() == {"text"}
    assert slack["text"].startswith("2026-10-02: 1 start\nsmall: start: first plan: 8 a100-sxm-80g")
    assert generic["news"] == ["small"]
    assert {headers["Authorization"] for _, headers, _ in hook.posts} == {f"Bearer token-{SECRET}"}
    (mail,) = box.mails
    assert (mail["From"], mail["To"]) == ("planner@example.com", "ops@example.com")
    assert mail["Subject"] == "clusterplan 2026-10-02: 1 start"
    assert "first plan" in mail.get_content()
    assert '<tr class="news"><td>small</td><td>start</td>' in report.read_text("utf-8")
    report.unlink()
    again = nights.run("2026-10-02", *to)
    calm = nights.run("2026-10-03", *to)
    assert (again.out["repeated"], calm.code, calm.err) == (True, 10, "")
    assert again.out["messages"] == calm.out["messages"] == []
    assert (len(hook.posts), len(box.mails), report.exists()) == (2, 1, False)
    asked = nights.run("2026-10-04", *to, "--notify", "always")
    assert asked.code == 10
    assert (len(hook.posts), len(box.mails), report.exists()) == (4, 2, True)


def test_the_best_offer_doubles_and_one_message_says_what_to_do(nights: Nights, hook: Webhook) -> None:
    nights.prices(a100=1.5, h100=8.0)
    nights.run("2026-10-02", "--webhook", "HOOK")
    nights.run("2026-10-03", "--webhook", "HOOK", "--accept", "small")
    nights.prices(a100=3.0, h100=8.0)
    doubled = nights.run("2026-10-20", "--slack", "HOOK")
    nights.run("2026-10-21", "--slack", "HOOK")
    assert doubled.code == 10
    _, message = hook.bodies
    headline, verdict = message["text"].splitlines()
    saving = doubled.out["verdicts"][0]["saving_usd"]
    assert saving > 100
    assert headline == f"2026-10-20: 1 switch; saves {saving:,.0f} USD"
    assert verdict.startswith(
        "small: switch: acme r1 box on demand went from 1.5 to 3 USD per accelerator-hour, so what is left costs "
    )
    assert f"; 8 h100-sxm-80g on demand at acme r2 box saves {saving:,.0f} USD (" in verdict
    assert re.search(r"; changes when acme r2 box on demand is above [\d.]+ USD per accelerator-hour$", verdict)


def test_the_only_offer_doubles_and_one_message_says_what_that_costs(nights: Nights, hook: Webhook) -> None:
    nights.prices(a100=1.5, h100=40.0)
    nights.run("2026-10-02")
    nights.run("2026-10-03", "--accept", "small")
    nights.prices(a100=3.0, h100=40.0)
    codes = [nights.run(f"2026-10-{day}", "--slack", "HOOK").code for day in (20, 21, 22)]
    assert codes == [0, 0, 0]
    (message,) = hook.bodies
    headline, verdict = message["text"].splitlines()
    assert headline == "2026-10-20: 1 to keep, with news"
    assert verdict.startswith("small: keep: acme r1 box on demand went from 1.5 to 3 USD per accelerator-hour, so ")


def test_a_failed_notification_fails_nothing_and_is_sent_by_the_next_run(
    nights: Nights, hook: Webhook, box: Mailbox
) -> None:
    report = nights.folder / "later" / "night.txt"
    box.refused.add("ops@")
    hook.status = 500
    to = ("--webhook", "HOOK", "--report", str(report),
          "--email", "ops@example.com", "--smtp", f"127.0.0.1:{box.port}")  # fmt: skip
    first = nights.run("2026-10-02", *to)
    assert first.code == 10
    assert "webhook:HOOK: HTTP 500; 1 message(s) wait" in first.err
    assert "email:ops@example.com: refused: 550 no such user" in first.err
    assert "cannot be written (No such file or directory)" in first.err
    assert [one["waiting"] for one in first.out["messages"]] == [1, 1, 1]
    hook.status = 302
    second = nights.run("2026-10-02", *to)  # the same night again: nothing is recorded, what waits is tried
    assert "HTTP 302" in second.err
    hook.status = 200
    box.refused.clear()
    report.parent.mkdir()
    third = nights.run("2026-10-03", "--smtp", f"127.0.0.1:{box.port}")  # a calm night without channels of its own
    assert (third.code, third.err) == (10, "")
    assert [one["sent"] for one in third.out["messages"]] == [1, 1, 1]
    assert (len(hook.posts), len(box.mails)) == (1, 1)
    assert report.read_text("utf-8").startswith("2026-10-02: 1 start")
    assert nights.run("2026-10-04").out["messages"] == []
    assert len(hook.posts) == 1


@pytest.mark.parametrize(
    ("address", "token", "reason"),
    [
        (f"http://127.0.0.1:9/{SECRET}", SECRET, "Connection refused"),
        (f"http://127.0.0.1:9/{SECRET}", f"{SECRET}\r\nX: y", "malformed"),
        (f"htp://{SECRET}", SECRET, "no http"),
        (f"http://127.0.0.1:{SECRET}/", SECRET, "malformed"),
        (f"http://127.0.0.1:9/{SECRET} x", SECRET, "malformed"),
        (f"http://[{SECRET}", SECRET, "malformed"),
        ("", SECRET, "environment has no HOOK"),
    ],
)
def test_no_secret_is_told_or_stored(
    address: str, token: str, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOOK", address)
    monkeypatch.setenv("HOOK_TOKEN", token)
    url = str(tmp_path / "history.db")
    history = History(url)
    history.record(night(0), {"webhook:HOOK": "{}"})
    (delivery,) = deliver(history, os.environ, MailServer())
    assert reason in delivery.error
    assert SECRET not in f"{delivery}{stored(url)}"
    assert "webhook:HOOK" in stored(url)


def test_secrets_of_delivered_messages_are_not_stored_either(nights: Nights, hook: Webhook) -> None:
    outcome = nights.run("2026-10-02", "--webhook", "HOOK")
    assert len(hook.posts) == 1
    assert SECRET not in f"{outcome}{stored(nights.history)}"


def test_an_address_instead_of_its_variable_is_refused_unrepeated(file_nights: Nights) -> None:
    nights = file_nights
    for flag in ("--webhook", "--slack"):
        outcome = nights.run("2026-10-02", flag, f"https://hooks.example/{SECRET}")
        assert outcome.code == 2
        assert "name of an environment variable" in outcome.err
        assert SECRET not in outcome.err
    assert nights.run("2026-10-02", "--email", "ops@example.com\nBcc: all@example.com").code == 2
    assert nights.run("2026-10-02", "--email", "ops@example.com,all@example.com").code == 2
    assert nights.run("2026-10-02", "--sender", "planner@example.com\nBcc: all@example.com").code == 2
    assert nights.run("2026-10-02", "--smtp", "localhost").code == 2


def test_a_dry_run_sends_nothing(file_nights: Nights, hook: Webhook) -> None:
    nights = file_nights
    assert nights.run("2026-10-02", "--webhook", "HOOK", "--dry-run").code == 10
    assert hook.posts == []


KILLED = """
import os, signal, sys
from optimizer.replan.history import History
from optimizer.replan.notify import deliver
from optimizer.replan.notify_send import MailServer
History.sent = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
deliver(History(sys.argv[1]), os.environ, MailServer())
"""


def test_a_run_killed_between_sending_and_noting_sends_again_with_the_same_key(history_url: str, hook: Webhook) -> None:
    history = History(history_url)
    history.record(night(0), {"webhook:HOOK": "{}"})
    killed = subprocess.run([sys.executable, "-c", KILLED, history_url], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert [one.sent for one in deliver(history, os.environ, MailServer())] == [1]
    first, second = (headers["Idempotency-Key"] for _, headers, _ in hook.posts)
    assert first == second
    history.record(night(1), {"webhook:HOOK": "{}"})
    deliver(history, os.environ, MailServer())
    assert hook.posts[-1][1]["Idempotency-Key"] != first


def test_messages_go_in_order_and_stop_at_the_first_failure(tmp_path: Path, hook: Webhook) -> None:
    history = History(str(tmp_path / "history.db"))
    report = tmp_path / "report.txt"
    for number in range(3):
        history.record(night(number), {"webhook:HOOK": f"[{number}]", f"file:{report}": str(number)})
    hook.status = 503
    file, posted = deliver(history, os.environ, MailServer())
    assert (file.sent, file.waiting, posted.sent, posted.waiting, posted.error) == (3, 0, 0, 3, "HTTP 503")
    assert report.read_text("utf-8") == "2"  # a file has the latest news only
    hook.status = 200
    deliver(history, os.environ, MailServer())
    assert hook.bodies == [[0], [1], [2]]
    assert deliver(history, os.environ, MailServer()) == []


def test_a_message_that_cannot_be_noted_as_sent_fails_nothing(
    tmp_path: Path, hook: Webhook, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise ClusterplanError("disk full")

    history = History(str(tmp_path / "history.db"))
    history.record(night(0), {"webhook:HOOK": "{}"})
    monkeypatch.setattr(History, "sent", full)
    (delivery,) = deliver(history, os.environ, MailServer())
    assert delivery.error == "sent, but may be sent again: disk full"


def test_messages_that_cannot_be_read_fail_nothing(tmp_path: Path) -> None:
    url = str(tmp_path / "history.db")
    history = History(url)
    history.record(night(0), {"pigeon:loft": "{}"})
    (delivery,) = deliver(history, os.environ, MailServer())
    assert (delivery.waiting, delivery.error[:24]) == (1, "no channel is of the kin")
    Path(url).write_bytes(b"no database any more" * 100)
    (delivery,) = deliver(history, os.environ, MailServer())
    assert "cannot be read" in delivery.error


def test_names_in_a_book_are_text_in_every_message() -> None:
    from dataclasses import replace

    hostile = "<!channel> & <script>"
    one = replace(night(0).verdicts[0], reason=hostile)
    bodies = messages(
        [Channel("slack", "S"), Channel("file", "/x.html"), Channel("file", "/x.txt")],
        replace(night(0), verdicts=(one,), notes=(hostile,)), [one],
    )  # fmt: skip
    assert "<!channel>" not in bodies["slack:S"]
    assert "&lt;!channel&gt; &amp; &lt;script&gt;" in bodies["slack:S"]
    assert "<script>" not in bodies["file:/x.html"]
    assert hostile in bodies["file:/x.txt"]


def test_a_message_is_short_however_long_the_night() -> None:
    from dataclasses import replace

    long = replace(night(0), notes=tuple(f"note {n}" for n in range(1000)), verdicts=night(0).verdicts * 10)
    body = messages([Channel("slack", "S")], long, long.verdicts)["slack:S"]
    assert body.count("\\n") == 1 + 31 + 6
    assert "and 170 more" in body
    assert "and 995 more" in body

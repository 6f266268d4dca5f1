"""Telling people: which channels there are, what each is told, and a list of messages that survives failures.

Messages are recorded with their night, in one transaction, and taken off the list when they are delivered. What could
not be delivered is tried again by the next run. Secrets are named, never stored: a channel holds the name of the
environment variable that has the address.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Literal, get_args

from catalogs.errors import ClusterplanError, UsageError
from optimizer.replan.history import History, Message, Night
from optimizer.replan.notify_send import MailServer, UnsentError, check_address, post, send_mail, write_file
from optimizer.replan.report import Delivery, brief, document, headline, text
from optimizer.replan.report_html import page
from optimizer.replan.verdict import Verdict

Kind = Literal["file", "webhook", "slack", "email"]

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)


@dataclass(frozen=True)
class Channel:
    """Somewhere that news goes.

    Attributes:
        kind: how.
        to: a file, the name of an environment variable that holds an address, or a mail address.
    """

    kind: Kind
    to: str

    def __str__(self) -> str:
        return f"{self.kind}:{self.to}"

    @classmethod
    def parse(cls, name: str) -> Channel:
        """The inverse of ``str``.

        Raises:
            UsageError: no such kind of channel.

        >>> Channel.parse("slack:HOOK")
        Channel(kind='slack', to='HOOK')
        """
        kind, _, to = name.partition(":")
        for known in get_args(Kind):
            if kind == known:
                return cls(known, to)
        raise UsageError(f"no channel is of the kind {kind!r}; there are {', '.join(get_args(Kind))}")


def channels(
    files: Sequence[Path] = (), webhooks: Sequence[str] = (), slacks: Sequence[str] = (), emails: Sequence[str] = ()
) -> tuple[Channel, ...]:
    """The channels of a run, each once.

    Raises:
        UsageError: a name that is no environment variable's (the value is not repeated: it may be the secret), an
            address that is none.
    """
    for name in (*webhooks, *slacks):
        if not _VARIABLE.fullmatch(name):
            raise UsageError("--webhook and --slack take the name of an environment variable that holds the address")
    for address in emails:
        check_address(address, "--email")
    named: tuple[tuple[Kind, Sequence[str]], ...] = (
        ("file", [str(path.absolute()) for path in files]),
        ("webhook", webhooks),
        ("slack", slacks),
        ("email", emails),
    )
    return tuple(dict.fromkeys(Channel(kind, to) for kind, many in named for to in many))


def messages(wanted: Sequence[Channel], night: Night, news: Sequence[Verdict]) -> dict[str, str]:
    """What every channel is told about a night, by channel."""
    return {str(channel): _body(channel, night, news) for channel in wanted}


def _body(channel: Channel, night: Night, news: Sequence[Verdict]) -> str:
    if channel.kind == "slack":
        return json.dumps({"text": _slack(brief(night, news))})
    if channel.kind == "email":
        return json.dumps({"subject": f"clusterplan {headline(night, news)}", "text": brief(night, news)})
    suffix = Path(channel.to).suffix.lower()
    if channel.kind == "webhook" or suffix == ".json":
        return json.dumps(document(night, news), indent=2, ensure_ascii=False) + "\n"
    return page(night, news) if suffix in (".html", ".htm") else text(night, news, news)


def _slack(plain: str) -> str:
    """Text that mentions nobody and links nowhere, whatever a price book calls its regions."""
    return plain.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def deliver(history: History, environment: Mapping[str, str], mail: MailServer) -> list[Delivery]:
    """Send everything that waits, also from earlier nights; failures are returned, never raised.

    A channel's messages go in order, and after its first failure the rest of them wait. Of a file only the latest is
    written. A run that is killed between sending and noting it sends again, with the same key.
    """
    try:
        waiting = sorted(history.waiting(), key=lambda one: (one.channel, one.number))
    except ClusterplanError as problem:
        return [Delivery("all", 0, 0, str(problem))]
    return [
        _deliver_all(history, name, list(group), environment, mail)
        for name, group in groupby(waiting, key=lambda one: one.channel)
    ]


def _deliver_all(
    history: History, name: str, waiting: list[Message], environment: Mapping[str, str], mail: MailServer
) -> Delivery:
    try:
        channel = Channel.parse(name)
    except UsageError as problem:
        return Delivery(name, 0, len(waiting), str(problem))
    # A file shows the latest news; what it never showed is no longer any.
    steps = [waiting] if channel.kind == "file" else [[one] for one in waiting]
    sent = 0
    for step in steps:
        error = ""
        try:
            _send(channel, step[-1], environment, mail)
        except UnsentError as problem:
            error = str(problem)
        try:
            for one in step:
                history.sent(one.number, error)
        except ClusterplanError as problem:
            return Delivery(name, sent, len(waiting) - sent, error or f"sent, but may be sent again: {problem}")
        if error:
            return Delivery(name, sent, len(waiting) - sent, error)
        sent += len(step)
    return Delivery(name, sent, 0)


def _send(channel: Channel, message: Message, environment: Mapping[str, str], mail: MailServer) -> None:
    if channel.kind == "file":
        write_file(Path(channel.to), message.body)
    elif channel.kind == "email":
        send_mail(mail, channel.to, message.body, message.key)
    else:
        address = environment.get(channel.to, "").strip()
        if not address:
            raise UnsentError(f"the environment has no {channel.to}")
        token = environment.get(f"{channel.to}_TOKEN", "").strip()
        post(address, message.body, message.key, token)

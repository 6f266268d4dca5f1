"""Sending one message: a file, an HTTP POST, a mail. Errors never repeat an address or a token."""

from __future__ import annotations

import http.client
import json
import re
import smtplib
import urllib.error
import urllib.request
from dataclasses import dataclass
from email.message import EmailMessage
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from catalogs.errors import UsageError
from optimizer.atomic import write_atomically

TIMEOUT_S = 10.0

_ADDRESS = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]+@[A-Za-z0-9.-]+", re.ASCII)


class UnsentError(Exception):
    """Why a message could not be sent, without secrets."""


@dataclass(frozen=True)
class MailServer:
    """The local mail server.

    Attributes:
        host, port: where it listens.
        sender: whom messages are from.
    """

    host: str = "localhost"
    port: int = 25
    sender: str = "clusterplan@localhost"

    @classmethod
    def parse(cls, text: str, sender: str) -> MailServer:
        """Read ``HOST:PORT``.

        Raises:
            UsageError: it is not of that form, or the sender is no address.

        >>> MailServer.parse("mail.local:2525", "planner@local").port
        2525
        """
        host, _, port = text.rpartition(":")
        if not host or not (port.isascii() and port.isdigit()) or not 0 < int(port) < 65536:
            raise UsageError(f"--smtp {text!r}: write HOST:PORT")
        check_address(sender, "--sender")
        return cls(host, int(port), sender)


def check_address(text: str, flag: str) -> None:
    """Refuse what is no plain mail address.

    Raises:
        UsageError: it is none.
    """
    if not _ADDRESS.fullmatch(text):
        raise UsageError(f"{flag} {text!r} is no mail address (NAME@HOST)")


def write_file(path: Path, body: str) -> None:
    """Put a text in place of a file, whole.

    Raises:
        UnsentError: it cannot be written.
    """
    try:
        write_atomically(path, body)
    except UsageError as error:
        raise UnsentError(str(error).removeprefix(f"{path}: ")) from None


def post(address: str, body: str, key: str, token: str = "") -> None:
    """POST a JSON text.

    Args:
        address: an http(s) URL.
        body: JSON.
        key: the same whenever the same message is sent (``Idempotency-Key``).
        token: sent as bearer token where there is one.

    Raises:
        UnsentError: the receiver did not answer with success; a redirection is none.
    """
    headers = {"Content-Type": "application/json; charset=utf-8", "User-Agent": "clusterplan", "Idempotency-Key": key}
    if token:
        headers["Authorization"] = f"Bearer {token}"
    try:
        if urlsplit(address).scheme not in ("http", "https"):
            raise UnsentError("the address is no http(s) URL")
        request = urllib.request.Request(address, body.encode(), headers, method="POST")
        with urllib.request.build_opener(_NoRedirect).open(request, timeout=TIMEOUT_S):
            return
    except urllib.error.HTTPError as error:
        error.close()
        raise UnsentError(f"HTTP {error.code}") from None
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise UnsentError(_reason(error)) from None


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirected POST would become a GET that delivers nothing."""

    def redirect_request(self, *_: Any) -> None:
        return None


def _reason(error: Exception) -> str:
    """What an error says without repeating its input."""
    cause = error.reason if isinstance(error, urllib.error.URLError) else error
    if isinstance(cause, OSError):
        return cause.strerror or type(cause).__name__
    if isinstance(cause, http.client.InvalidURL | ValueError):
        return "the address or its token is malformed"
    return type(cause).__name__


def send_mail(server: MailServer, to: str, body: str, key: str) -> None:
    """Send a mail.

    Args:
        server: the local mail server.
        to: address.
        body: JSON with ``subject`` and ``text``.
        key: the same whenever the same message is sent (``Message-ID``).

    Raises:
        UnsentError: the server refused it or is not there.
    """
    content = json.loads(body)
    mail = EmailMessage()
    mail["Subject"], mail["From"], mail["To"] = content["subject"], server.sender, to
    mail["Message-ID"] = f"<{key}@clusterplan>"
    mail["Auto-Submitted"] = "auto-generated"
    mail.set_content(content["text"])
    try:
        with smtplib.SMTP(server.host, server.port, timeout=TIMEOUT_S) as connection:
            connection.send_message(mail)
    except smtplib.SMTPRecipientsRefused as error:
        code, said = next(iter(error.recipients.values()))
        raise UnsentError(f"refused: {code} {said.decode(errors='replace')}") from None
    except smtplib.SMTPResponseException as error:
        raise UnsentError(f"refused: {error.smtp_code} {_decoded(error.smtp_error)}") from None
    except (OSError, ValueError) as error:
        raise UnsentError(f"mail server {server.host}:{server.port}: {_reason(error)}") from None


def _decoded(said: bytes | str) -> str:
    return said.decode(errors="replace") if isinstance(said, bytes) else said

"""Where messages go in tests: a web server and a mail server on the loopback, that remember what they got."""

from __future__ import annotations

import http.server
import json
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Any


@dataclass
class Webhook:
    """Attributes: what was posted, and the status that the next posts get."""

    port: int = 0
    status: int = 200
    posts: list[tuple[str, dict[str, str], Any]] = field(default_factory=list)

    def url(self, path: str = "/hook") -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    @property
    def bodies(self) -> list[Any]:
        return [body for _, _, body in self.posts]


@contextmanager
def webhook() -> Iterator[Webhook]:
    got = Webhook()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if got.status == 200:
                got.posts.append((self.path, dict(self.headers), json.loads(body)))
            self.send_response(got.status)
            if 300 <= got.status < 400:
                self.send_header("Location", got.url("/elsewhere"))
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"ok")

        def do_GET(self) -> None:
            raise AssertionError("a redirected post became a GET")

        def log_message(self, *_: object) -> None:
            pass

    with _served(http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)) as got.port:
        yield got


@dataclass
class Mailbox:
    """Attributes: the mails, and recipients that are refused."""

    port: int = 0
    mails: list[EmailMessage] = field(default_factory=list)
    refused: set[str] = field(default_factory=set)


@contextmanager
def mailbox() -> Iterator[Mailbox]:
    got = Mailbox()

    class Handler(socketserver.StreamRequestHandler):
        def say(self, line: str) -> None:
            self.wfile.write(f"{line}\r\n".encode())

        def handle(self) -> None:
            self.say("220 test")
            while line := self.rfile.readline().decode().strip():
                verb = line[:4].upper()
                if verb == "RCPT" and any(name in line for name in got.refused):
                    self.say("550 no such user")
                elif verb == "DATA":
                    self.say("354 go on")
                    content = b"".join(iter(self.rfile.readline, b".\r\n"))
                    got.mails.append(message_from_bytes(content, policy=policy.default))  # type: ignore[arg-type]
                    self.say("250 taken")
                elif verb == "QUIT":
                    self.say("221 bye")
                    return
                else:
                    self.say("250 ok")

    with _served(socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)) as got.port:
        yield got


@contextmanager
def _served(server: socketserver.TCPServer) -> Iterator[int]:
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    yield server.server_address[1]
    server.shutdown()
    server.server_close()
    thread.join()

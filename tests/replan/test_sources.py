"""Every price source keeps one contract, and a hostile file is used correctly or refused with file, row and reason."""

from __future__ import annotations

import datetime
import http.server
import random
import socketserver
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from catalogs import Catalog
from catalogs.errors import DataFileError, UsageError
from optimizer.replan import sources
from optimizer.replan.book import Book, with_book
from optimizer.replan.integrity import Checked, check
from optimizer.replan.sources import Source
from tests.replan import books

CATALOG = Catalog()
TODAY = datetime.date(2026, 11, 20)


def accept(where: str, last: Book | None = None, held: dict[str, float] | None = None) -> Checked:
    source = Source.parse(where)
    quotes, problems = source.read(CATALOG, TODAY)
    return check(source.where, quotes, problems, as_of=TODAY, today=TODAY, last=last, held=held)


class SourceContract:
    """What every source must do; a subclass says how one is made and what it holds."""

    text: str
    suffix = "csv"
    options = ""
    offers: int

    @pytest.fixture
    def where(self, tmp_path: Path) -> Iterator[str]:
        path = tmp_path / f"book.{self.suffix}"
        path.write_text(self.text, "utf-8")
        return f"{path}{self.options}"

    def test_every_quote_is_dated_sourced_and_positive(self, where: str) -> None:
        book = accept(where).book
        assert len(book.quotes) == self.offers
        assert all(q.date and q.source and q.price > 0 and q.provider for q in book.quotes)

    def test_its_book_is_an_offer_catalog(self, where: str) -> None:
        book = accept(where).book
        catalog, keys = with_book(CATALOG, book)
        assert sorted(keys.values()) == [q.key for q in book.quotes]
        assert catalog.offers.keys() == keys.keys()

    def test_reading_twice_gives_the_same_digest(self, where: str) -> None:
        assert accept(where).book.digest == accept(where).book.digest

    def test_rows_survive_storage(self, where: str) -> None:
        book = accept(where).book
        assert Book.from_rows(book.to_rows()) == book

    def test_a_negative_price_is_named_with_file_and_row(self, where: str) -> None:
        quotes, _ = Source.parse(where).read(CATALOG, TODAY)
        path = Path(where.split("#")[0])
        if not path.is_file():
            pytest.skip("not a file")
        price = f"{quotes[0].price:g}"
        path.write_text(self.text.replace(price, f"-{price}", 1), "utf-8")
        _, problems = Source.parse(where).read(CATALOG, TODAY)
        assert any(p.broken and p.line == quotes[0].line and str(path) in str(p) for p in problems)


class TestOwnCsv(SourceContract):
    text, offers = books.OWN, 5


class TestOwnYaml(SourceContract):
    text, offers, suffix = books.OWN_YAML, 1, "yaml"


class TestDatedHistory(SourceContract):
    text, offers = books.DATED, 6


class TestSkyPilot(SourceContract):
    text, offers, options = books.SKYPILOT, 4, "#provider=lambda&date=2026-10-01"


class TestGpuhunt(SourceContract):
    text, offers, options = books.GPUHUNT, 3, "#provider=acme"


class TestCommand(SourceContract):
    text, offers = books.OWN, 5

    @pytest.fixture
    def where(self, tmp_path: Path) -> Iterator[str]:
        path = tmp_path / "book.csv"
        path.write_text(self.text, "utf-8")
        return f"cmd:cat {path}"


class TestHttp(SourceContract):
    text, offers = books.OWN, 5

    @pytest.fixture
    def where(self) -> Iterator[str]:
        text = self.text

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200)
                self.end_headers()
                self.wfile.write(text.encode())

            def log_message(self, *_: object) -> None:
                pass

        server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/book.csv"
        server.shutdown()
        server.server_close()


def test_a_history_gives_the_snapshot_of_the_night(tmp_path: Path) -> None:
    path = tmp_path / "history.csv"
    path.write_text(books.DATED, "utf-8")
    night = datetime.date(2023, 1, 1)
    quotes, problems = Source(str(path)).read(CATALOG, night)
    book = check(str(path), quotes, problems, as_of=night, today=TODAY).book
    assert {q.date for q in book.quotes} == {"2022-02-09"}
    assert len(book.quotes) == 3


@pytest.mark.parametrize("where", ["cmd:exit 3", "http://127.0.0.1:9/x.csv", "/nowhere/book.csv"])
def test_a_source_that_fails_says_so(where: str) -> None:
    with pytest.raises(DataFileError, match=where.split("/")[-1].split(" ")[0]):
        accept(where)


@pytest.mark.parametrize("text", ["book.csv#providr=x", "#provider=x", "book.csv#date=yesterday"])
def test_a_source_that_is_misspelt_is_a_usage_error(text: str) -> None:
    with pytest.raises(UsageError, match="--prices"):
        Source.parse(text)


HOSTILE = {
    "truncated": (books.OWN[:-60], "cut off"),
    "no end of line": (books.OWN.rstrip(), "cut off"),
    "missing column": (books.OWN.replace(",currency,", ",curency,"), "currency"),
    "column twice": (books.OWN.replace("name,", "price,", 1), "twice"),
    "empty": ("", "no rows"),
    "only a header": (books.OWN.splitlines()[0] + "\n", "no rows"),
    "NUL": (books.OWN.replace("Bolt", "Bo\0lt"), "NUL"),
    "open quote": (books.OWN.replace("Bolt", '"Bolt'), "CSV|cells"),
    "zero prices": (books.OWN.replace("16.0", "0"), "above zero"),
    "NaN prices": (books.OWN.replace("16.0", "NaN"), "number above zero"),
    "infinite prices": (books.OWN.replace("16.0", "inf"), "number above zero"),
    "overflow": (books.OWN.replace("16.0", "1e99"), "above zero and below"),
    "negative": (books.OWN.replace("16.0", "-16"), "number above zero"),
    "decimal comma": (books.OWN.replace("16.0", '"16,0"'), "decimal point"),
    "Arabic digits": (books.OWN.replace("16.0", "١٦"), "number above zero"),
    "cents": (books.OWN.replace("16.0", "160000"), "unit"),
    "formula": (books.OWN.replace("Acme", "=HYPERLINK(1)"), "formula"),
    "at formula": (books.OWN.replace("Acme", "@SUM(A1)"), "formula"),
    "bell": (books.OWN.replace("Acme", "Ac\x07me"), "control"),
    "right to left": (books.OWN.replace("Acme", "Ac\u202eme"), "control"),
    "future": (books.OWN.replace("2026-10-01", "2062-10-01"), "future"),
    "no date": (books.OWN.replace("2026-10-01", "last week"), "YYYY-MM-DD"),
    "31 February": (books.OWN.replace("2026-10-01", "2026-02-31"), "YYYY-MM-DD"),
    "unknown currency": (books.OWN.replace("USD", "DOGE"), "exchange rate"),
    "mixed currencies": (
        books.OWN + "".join(line.replace("USD", "CNY") + "\n" for line in books.OWN.splitlines()[1:] if "USD" in line),
        "another currency",
    ),
    "no accelerators": (books.OWN.replace(",8,", ",0,"), "whole number"),
    "half accelerators": (books.OWN.replace(",8,", ",2.5,"), "whole number"),
    "huge cell": (books.OWN.replace("Acme", "A" * 10_000), "characters"),
    "unit of another tenure": (books.OWN.replace("server_hour", "server"), "cannot be per"),
    "HTML": ("<html><body>404</body></html>\n<p>x</p>\n", "no known price format"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_file_is_refused_with_file_row_and_reason(name: str, tmp_path: Path) -> None:
    text, reason = HOSTILE[name]
    path = tmp_path / "book.csv"
    path.write_bytes(text.encode())
    with pytest.raises(DataFileError, match=rf"book\.csv:\d+: .*({reason})"):
        accept(str(path))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (books.OWN.encode("utf-16"), "UTF-8"),
        (books.OWN.replace("Acme", "Ãcme").encode("latin-1"), "UTF-8"),
        (bytes(range(256)), "UTF-8"),
    ],
)
def test_another_encoding_is_refused(content: bytes, reason: str, tmp_path: Path) -> None:
    path = tmp_path / "book.csv"
    path.write_bytes(content)
    with pytest.raises(DataFileError, match=rf"book\.csv: .*{reason}"):
        accept(str(path))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]\n", "alias"),
        ("[" * 5000 + "]" * 5000, "nested"),
        ("- !!python/object/apply:os.system ['true']\n", "not valid YAML"),
        ("price: 3\n", "list"),
        ("- 3\n", "mapping"),
        ("- provider: A\n  provider: B\n", "twice"),
    ],
)
def test_a_yaml_bomb_is_refused(text: str, reason: str, tmp_path: Path) -> None:
    path = tmp_path / "book.yaml"
    path.write_text(text, "utf-8")
    with pytest.raises(DataFileError, match=rf"book\.yaml.*{reason}"):
        accept(str(path))


def test_a_gigabyte_is_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "book.csv"
    with path.open("wb") as file:
        file.truncate(10**9)
    with pytest.raises(DataFileError, match=r"book\.csv: larger than 64 MiB"):
        accept(str(path))


@pytest.mark.parametrize("where", ["/dev/zero", "cmd:yes", "cmd:yes >&1 & wait"])
def test_an_endless_source_is_refused(where: str) -> None:
    with pytest.raises(DataFileError, match="larger than 64 MiB"):
        accept(where)


@pytest.mark.parametrize("command", ["sleep 60", "sleep 60 & wait", "echo a; sleep 60 &"])
def test_a_command_that_does_not_end_is_ended_with_its_children(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "TIMEOUT_S", 0.1)
    with pytest.raises(DataFileError, match=r"still running after 0\.1 s"):
        accept(f"cmd:{command}")


def test_a_command_that_fails_is_told_with_its_last_words() -> None:
    with pytest.raises(DataFileError, match=r"exit code 3 \(no such bucket\)"):
        accept("cmd:echo connecting >&2; echo no such bucket >&2; exit 3")


HALF = b"HTTP/1.1 200 OK\r\n"


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (HALF + b"Content-Length: 1000\r\n\r\n" + books.OWN.encode(), "cut off after"),
        (HALF + b"Transfer-Encoding: chunked\r\n\r\nfff\r\n" + books.OWN.encode(), "cannot be fetched"),
        (b"HTTP/1.1 nonsense\r\n\r\n", "cannot be fetched"),
        (HALF + b"X" * 70_000, "cannot be fetched"),
        (b"", "cannot be fetched"),
        (b"HTTP/1.1 503 Busy\r\n\r\n", "cannot be fetched"),
        (None, "still arriving|timed out"),
    ],
)
def test_a_download_that_is_not_whole_is_refused(
    answer: bytes | None, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "TIMEOUT_S", 0.3)

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            self.request.recv(10_000)
            with suppress(OSError):
                if answer is not None:
                    self.request.sendall(answer)
                    return
                self.request.sendall(HALF + b"\r\n")
                for _ in range(100):  # a byte now and then, for ever
                    self.request.sendall(b"a")
                    time.sleep(0.05)

    with socketserver.TCPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.handle_request, daemon=True)
        thread.start()
        with pytest.raises(DataFileError, match=rf"127.0.0.1.*({reason})"):
            accept(f"http://127.0.0.1:{server.server_address[1]}/book.csv")
        thread.join()


def mutated(text: str, rng: random.Random) -> bytes:
    """One to three random edits of a real book: bytes, lines, cells."""
    data = bytearray(text.encode())
    for _ in range(rng.randint(1, 3)):
        kind = rng.randrange(6)
        place = rng.randrange(max(len(data), 1))
        if kind == 0:
            data[place : place + 1] = bytes([rng.randrange(256)])
        elif kind == 1:
            del data[place : place + rng.randint(1, 40)]
        elif kind == 2:
            data[place:place] = rng.choice(
                [b"-", b"0", b"e9", b",", b'"', b"\n", b"nan", b"=", b"\xff", b"\xe2\x80\xae"]
            )
        elif kind == 3:
            del data[place:]
        elif kind == 4:
            lines = data.split(b"\n")
            lines.insert(rng.randrange(len(lines)), rng.choice(lines))
            data = bytearray(b"\n".join(lines))
        else:
            lines = data.split(b"\n")
            line = rng.randrange(len(lines))
            cells = lines[line].split(b",")
            cells[rng.randrange(len(cells))] = rng.choice(
                [b"", b"inf", b"-1", b"0", b"EUR", b"2999-01-01", b"\x00", b"9" * 400]
            )
            lines[line] = b",".join(cells)
            data = bytearray(b"\n".join(lines))
    return bytes(data)


@pytest.mark.parametrize("name", books.ALL)
def test_generated_mutations_are_accepted_correctly_or_refused(name: str, tmp_path: Path) -> None:
    rng = random.Random(name)
    path = tmp_path / name
    outcomes = {"accepted": 0, "refused": 0}
    messages = []
    for _ in range(300):
        path.write_bytes(mutated(books.ALL[name], rng))
        try:
            checked = accept(f"{path}#provider=acme")
        except DataFileError as error:
            messages.append(str(error))
            outcomes["refused"] += 1
            continue
        outcomes["accepted"] += 1
        for quote in checked.book.quotes:
            assert 0 < quote.price < 1e9
            assert quote.accelerator in CATALOG.accelerators
            assert quote.currency.lower() in CATALOG.currencies
            assert quote.date <= TODAY.isoformat()
            assert not quote.provider.startswith(("=", "+", "-", "@"))
        with_book(CATALOG, checked.book)
    assert min(outcomes.values()) > 0
    assert all(str(path) in message for message in messages)


def test_a_jump_is_held_back_until_it_is_repeated(tmp_path: Path) -> None:
    path = tmp_path / "book.csv"
    path.write_text(books.OWN, "utf-8")
    last = accept(str(path)).book
    path.write_text(books.OWN.replace("40.0", "4.0"), "utf-8")
    jumped = accept(str(path), last)
    (key,) = jumped.quarantined
    assert jumped.book.by_key[key].price == 40.0
    assert any("held back" in note for note in jumped.notes)
    assert accept(str(path), jumped.book, jumped.quarantined).book.by_key[key].price == 4.0


def test_a_price_that_doubles_is_news_and_no_mistake(tmp_path: Path) -> None:
    path = tmp_path / "book.csv"
    path.write_text(books.OWN, "utf-8")
    last = accept(str(path)).book
    path.write_text(books.OWN.replace("40.0", "80.0"), "utf-8")
    assert not accept(str(path), last).quarantined


def test_vanished_offers_and_stale_books_are_told(tmp_path: Path) -> None:
    path = tmp_path / "book.csv"
    path.write_text(books.OWN, "utf-8")
    last = accept(str(path)).book
    path.write_text("".join(books.OWN.splitlines(keepends=True)[:-1]), "utf-8")
    checked = accept(str(path), last)
    assert len(checked.vanished) == 1
    assert any("stale" in note for note in checked.notes)


def test_a_cap_on_servers_is_read_and_part_of_what_a_book_says(tmp_path: Path) -> None:
    path = tmp_path / "book.csv"
    digests = []
    for cap in ("", "16", "17", "0", "many"):
        lines = books.OWN.splitlines()
        path.write_text(
            "\n".join([f"{lines[0]},max_servers", *(f"{line},{cap}" for line in lines[1:])]) + "\n", "utf-8"
        )
        if cap in ("0", "many"):
            with pytest.raises(DataFileError, match=r"book\.csv:2: max_servers is .*whole number"):
                accept(str(path))
            continue
        book = accept(str(path)).book
        offers = with_book(CATALOG, Book.from_rows(book.to_rows()))[0].offers.values()
        assert {offer.max_servers for offer in offers} == {int(cap) if cap else None}
        digests.append(book.digest)
    assert len(set(digests)) == 3


def test_one_broken_row_of_many_is_left_out_and_named(tmp_path: Path) -> None:
    path = tmp_path / "book.csv"
    path.write_text(books.OWN + "x,Acme,eu-1,new,h100-sxm-80g,8,spot,-3,USD,server_hour,2026-10-01,x\n", "utf-8")
    checked = accept(str(path))
    assert len(checked.book.quotes) == 5
    assert [p.line for p in checked.problems] == [7]

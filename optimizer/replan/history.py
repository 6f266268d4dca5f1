"""History: price books, nights and verdicts in a database (a SQLite file by default, PostgreSQL by URL).

A night is one transaction: it is there whole or not at all. The schema carries a version and is migrated forward.
"""

from __future__ import annotations

import datetime
import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from catalogs.errors import ClusterplanError, DataFileError
from optimizer.replan.book import Book
from optimizer.replan.database import database_url, open_engine, reading, writing
from optimizer.replan.standing import Standing
from optimizer.replan.verdict import Verdict

META = sa.MetaData()
VERSION = sa.Table("clusterplan_schema", META, sa.Column("version", sa.Integer, nullable=False))
BOOKS = sa.Table(
    "books", META, sa.Column("digest", sa.String(64), primary_key=True), sa.Column("quotes", sa.Text, nullable=False)
)
NIGHTS = sa.Table(
    "nights",
    META,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("as_of", sa.String(10), nullable=False, index=True),
    sa.Column("inputs", sa.String(64), nullable=False),
    sa.Column("tool", sa.String(40), nullable=False),
    sa.Column("exit_code", sa.Integer, nullable=False),
    sa.Column("jobs", sa.Text, nullable=False),
    sa.Column("rules", sa.Text, nullable=False),
    sa.Column("notes", sa.Text, nullable=False),
)
SOURCES = sa.Table(
    "night_sources",
    META,
    sa.Column("night", sa.ForeignKey("nights.id"), primary_key=True),
    sa.Column("source", sa.String(1000), primary_key=True),
    sa.Column("book", sa.ForeignKey("books.digest"), nullable=False),
    sa.Column("held", sa.Text, nullable=False),
    sa.Column("fresh", sa.Boolean, nullable=False),
)
VERDICTS = sa.Table(
    "verdicts",
    META,
    sa.Column("night", sa.ForeignKey("nights.id"), primary_key=True),
    sa.Column("job", sa.String(100), primary_key=True),
    sa.Column("kind", sa.String(20), nullable=False),
    sa.Column("body", sa.Text, nullable=False),
)
OUTBOX = sa.Table(
    "outbox",
    META,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("night", sa.ForeignKey("nights.id"), nullable=False),
    sa.Column("channel", sa.String(1000), nullable=False),
    sa.Column("body", sa.Text, nullable=False),
    sa.Column("error", sa.Text, nullable=False),
)


def _version_1(connection: sa.Connection) -> None:
    META.create_all(connection, tables=[VERSION, BOOKS, NIGHTS, SOURCES, VERDICTS])
    connection.execute(VERSION.insert().values(version=0))


def _version_2(connection: sa.Connection) -> None:
    META.create_all(connection, tables=[OUTBOX])


MIGRATIONS: tuple[Callable[[sa.Connection], None], ...] = (_version_1, _version_2)
"""What takes the schema from each version to the next."""


@dataclass(frozen=True)
class SourceBook:
    """The last good book of a source.

    Attributes:
        source: as the user names it.
        book: its quotes.
        held: quarantined prices by key.
        fresh: whether it was read this night, rather than kept from an earlier one.
    """

    source: str
    book: Book
    held: dict[str, float] = field(default_factory=dict)
    fresh: bool = True


@dataclass(frozen=True)
class Night:
    """One night, as recorded.

    Attributes:
        as_of: its date.
        inputs: digest of everything it was decided from.
        tool: version of clusterplan.
        exit_code: of the run.
        jobs: the jobs file's content.
        rules: the rules of the run.
        notes: what was noticed about the prices.
        sources: the books.
        verdicts: one per job.
        id: its number in the history.
    """

    as_of: datetime.date
    inputs: str
    tool: str
    exit_code: int
    jobs: list[dict[str, Any]]
    rules: dict[str, Any]
    notes: tuple[str, ...]
    sources: tuple[SourceBook, ...]
    verdicts: tuple[Verdict, ...]
    id: int = 0


@dataclass(frozen=True)
class Message:
    """A message still to send.

    Attributes:
        number: in the list of those that wait.
        channel: where to.
        body: what.
        key: the same whenever the same message is sent, so that a receiver can tell.
    """

    number: int
    channel: str
    body: str
    key: str


class History:
    """The recorded nights.

    Raises:
        DataFileError: the database cannot be opened, or was written by a newer clusterplan.
        ClusterplanError: it cannot be written (disk full, read-only); nothing is recorded then.
    """

    def __init__(self, url: str) -> None:
        self.url = database_url(url)
        with self.said(DataFileError, "opened"):
            self.engine = open_engine(self.url)
            self._migrate()

    def close(self) -> None:
        """Close every connection."""
        self.engine.dispose()

    @contextmanager
    def said(self, error: type[ClusterplanError], what: str) -> Iterator[None]:
        """Tell what the database complains about as an error of this program, without any password."""
        try:
            yield
        except ImportError:
            raise error("history in PostgreSQL needs its driver: pip install 'clusterplan[postgresql]'") from None
        except (SQLAlchemyError, UnicodeError) as problem:
            said = str(getattr(problem, "orig", None) or problem).splitlines()[0]
            where = self.url.set(query={}).render_as_string(hide_password=True)  # libpq takes a password there, too
            raise error(f"history {where}: cannot be {what} ({said}); what was recorded before stands") from None

    def _migrate(self) -> None:
        """Take the schema forward; a history that is as it should be is not written to."""
        with reading(self.engine) as connection:
            if _version(connection) == len(MIGRATIONS):
                return
        with writing(self.engine) as connection:
            version = _version(connection)
            for migrate in MIGRATIONS[version:]:
                migrate(connection)
            connection.execute(VERSION.update().values(version=len(MIGRATIONS)))

    def record(self, night: Night, messages: dict[str, str] | None = None, *, after: int | None = None) -> int:
        """Record a night and its messages to send, in one transaction; returns its number.

        Args:
            night: the night.
            messages: what is to be sent, by channel.
            after: number of the last night that this one was decided from (0: there was none).

        Raises:
            ClusterplanError: it cannot be written, or another night was recorded since; nothing is recorded then.
        """
        with self.said(ClusterplanError, "written"), writing(self.engine) as connection:
            latest = connection.execute(sa.select(sa.func.max(NIGHTS.c.id))).scalar() or 0
            if after is not None and latest != after:
                raise ClusterplanError("another run recorded a night meanwhile; nothing was recorded, run again")
            number = connection.execute(
                NIGHTS.insert().values(
                    as_of=night.as_of.isoformat(),
                    inputs=night.inputs,
                    tool=night.tool,
                    exit_code=night.exit_code,
                    jobs=json.dumps(night.jobs),
                    rules=json.dumps(night.rules),
                    notes=json.dumps(night.notes),
                )
            ).inserted_primary_key[0]  # type: ignore[index]
            for one in night.sources:
                known = connection.execute(sa.select(BOOKS.c.digest).where(BOOKS.c.digest == one.book.digest)).first()
                if known is None:
                    rows = json.dumps(one.book.to_rows())
                    connection.execute(BOOKS.insert().values(digest=one.book.digest, quotes=rows))
                connection.execute(
                    SOURCES.insert().values(
                        night=number,
                        source=one.source,
                        book=one.book.digest,
                        held=json.dumps(one.held),
                        fresh=one.fresh,
                    )
                )
            for verdict in night.verdicts:
                body = json.dumps(verdict.to_json())
                connection.execute(
                    VERDICTS.insert().values(night=number, job=verdict.job, kind=verdict.kind, body=body)
                )
            for channel, body in (messages or {}).items():
                connection.execute(OUTBOX.insert().values(night=number, channel=channel, body=body, error=""))
        return int(number)

    def numbers(self) -> list[tuple[int, str, str, int]]:
        """Number, date, inputs digest and exit code of every night, oldest first."""
        with self.said(DataFileError, "read"), reading(self.engine) as connection:
            columns = (NIGHTS.c.id, NIGHTS.c.as_of, NIGHTS.c.inputs, NIGHTS.c.exit_code)
            rows = connection.execute(sa.select(*columns).order_by(NIGHTS.c.id))
            return [(int(row[0]), str(row[1]), str(row[2]), int(row[3])) for row in rows]

    def night(self, number: int) -> Night:
        """One night.

        Raises:
            DataFileError: there is no such night.
        """
        with self.said(DataFileError, "read"), reading(self.engine) as connection:
            row = connection.execute(sa.select(NIGHTS).where(NIGHTS.c.id == number)).mappings().first()
            if row is None:
                raise DataFileError(f"history has no night {number}")
            sources = connection.execute(
                sa.select(SOURCES, BOOKS.c.quotes)
                .join(BOOKS, BOOKS.c.digest == SOURCES.c.book)
                .where(SOURCES.c.night == number)
                .order_by(SOURCES.c.source)
            ).mappings()
            books = tuple(_source_book(one) for one in sources)
            bodies = connection.execute(
                sa.select(VERDICTS.c.body).where(VERDICTS.c.night == number).order_by(VERDICTS.c.job)
            ).scalars()
            verdicts = tuple(Verdict.from_json(json.loads(body)) for body in bodies)
        return Night(
            as_of=datetime.date.fromisoformat(row["as_of"]),
            inputs=row["inputs"],
            tool=row["tool"],
            exit_code=row["exit_code"],
            jobs=json.loads(row["jobs"]),
            rules=json.loads(row["rules"]),
            notes=tuple(json.loads(row["notes"])),
            sources=books,
            verdicts=verdicts,
            id=number,
        )

    def last(self, before: int | None = None) -> Night | None:
        """The latest night (before a given one)."""
        numbers = [one[0] for one in self.numbers() if before is None or one[0] < before]
        return self.night(numbers[-1]) if numbers else None

    def books(self) -> dict[str, tuple[datetime.date, SourceBook]]:
        """The latest book of every source that any night read, by source, and the date of that night."""
        latest = sa.select(sa.func.max(SOURCES.c.night), SOURCES.c.source).group_by(SOURCES.c.source)
        asked = (
            sa.select(SOURCES, BOOKS.c.quotes, NIGHTS.c.as_of)
            .join(BOOKS, BOOKS.c.digest == SOURCES.c.book)
            .join(NIGHTS, NIGHTS.c.id == SOURCES.c.night)
            .where(sa.tuple_(SOURCES.c.night, SOURCES.c.source).in_(latest))
        )
        with self.said(DataFileError, "read"), reading(self.engine) as connection:
            rows = connection.execute(asked).mappings().all()
        return {row["source"]: (datetime.date.fromisoformat(row["as_of"]), _source_book(row)) for row in rows}

    def waiting(self) -> list[Message]:
        """Messages still to send, oldest first."""
        with self.said(DataFileError, "read"), reading(self.engine) as connection:
            columns = (OUTBOX.c.id, OUTBOX.c.night, OUTBOX.c.channel, OUTBOX.c.body, NIGHTS.c.inputs)
            asked = sa.select(*columns).join(NIGHTS, NIGHTS.c.id == OUTBOX.c.night).order_by(OUTBOX.c.id)
            return [
                Message(row.id, row.channel, row.body, _key(row.night, row.inputs, row.channel))
                for row in connection.execute(asked)
            ]

    def sent(self, number: int, error: str = "") -> None:
        """Take a message off the list, or note why it could not be sent."""
        with self.said(ClusterplanError, "written"), writing(self.engine) as connection:
            if error:
                connection.execute(OUTBOX.update().where(OUTBOX.c.id == number).values(error=error))
            else:
                connection.execute(OUTBOX.delete().where(OUTBOX.c.id == number))

    def needed(self) -> set[int]:
        """Nights that the next one needs: the last, those of messages still to send, and the latest of every source."""
        latest = sa.select(sa.func.max(SOURCES.c.night)).group_by(SOURCES.c.source)
        queries = (sa.select(sa.func.max(NIGHTS.c.id)), sa.select(OUTBOX.c.night), latest)
        with self.said(DataFileError, "read"), reading(self.engine) as connection:
            return {int(night) for one in queries for night in connection.execute(one).scalars() if night is not None}

    def forget(self, nights: Sequence[int]) -> None:
        """Delete some nights, and the books that no other night uses."""
        with self.said(ClusterplanError, "written"), writing(self.engine) as connection:
            for number in nights:
                for table in (OUTBOX, VERDICTS, SOURCES):
                    connection.execute(table.delete().where(table.c.night == number))
                connection.execute(NIGHTS.delete().where(NIGHTS.c.id == number))
            connection.execute(BOOKS.delete().where(BOOKS.c.digest.not_in(sa.select(SOURCES.c.book))))


def _source_book(row: sa.RowMapping) -> SourceBook:
    return SourceBook(row["source"], Book.from_rows(json.loads(row["quotes"])), json.loads(row["held"]), row["fresh"])


def _key(night: int, inputs: str, channel: str) -> str:
    return hashlib.sha256(f"{night}|{inputs}|{channel}".encode()).hexdigest()[:32]


def _version(connection: sa.Connection) -> int:
    """Version of the schema, 0 where there is none.

    Raises:
        DataFileError: it is from the future.
    """
    exists = sa.inspect(connection).has_table(VERSION.name)
    version = int(connection.execute(sa.select(VERSION.c.version)).scalar_one()) if exists else 0
    if version > len(MIGRATIONS):
        raise DataFileError(f"history: schema version {version} is newer than this clusterplan; upgrade it")
    return version


def standing_plans(night: Night | None) -> dict[str, Standing]:
    """The plan that every job has after a night: what runs or was accepted, not what was only advised."""
    return {one.job: one.standing for one in night.verdicts if one.standing} if night else {}


def proposed_plans(night: Night | None) -> dict[str, Standing]:
    """The plan that a night advised, by job, where it advised another one than stands."""
    return {one.job: one.target for one in night.verdicts if one.target} if night else {}

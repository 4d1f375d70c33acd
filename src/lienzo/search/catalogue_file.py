"""The SQLite file of a picture index: its tables, how it is opened, and what is said when it cannot be."""

from __future__ import annotations

import fnmatch
import os
import sqlite3
import time
from pathlib import Path

from lienzo.core.errors import BadInput
from lienzo.core.text import printable

FILE = "catalogue.sqlite"
VERSION = 1
APPLICATION = 0x4C49_454E  # "LIEN"
WAIT = 120  # seconds that a writer waits for another

_SCHEMA = (
    "CREATE TABLE state (generation INTEGER NOT NULL)",
    "INSERT INTO state VALUES (0)",
    "CREATE TABLE roots (id INTEGER PRIMARY KEY AUTOINCREMENT, path BLOB NOT NULL UNIQUE, exclude TEXT NOT NULL, "
    "hidden INTEGER NOT NULL)",
    # AUTOINCREMENT: the number of a picture that is gone is never given to another.
    "CREATE TABLE items (id INTEGER PRIMARY KEY AUTOINCREMENT, root INTEGER NOT NULL REFERENCES roots (id), "
    "path BLOB NOT NULL, size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL, sha256 BLOB NOT NULL, "
    "width INTEGER NOT NULL, height INTEGER NOT NULL, caption TEXT NOT NULL, note INTEGER NOT NULL, "
    "added INTEGER NOT NULL, UNIQUE (root, path))",
    "CREATE INDEX items_by_content ON items (sha256)",
    "CREATE TABLE models (id INTEGER PRIMARY KEY, tag TEXT NOT NULL UNIQUE, dim INTEGER NOT NULL)",
    "CREATE TABLE vectors (model INTEGER NOT NULL REFERENCES models (id), "
    "item INTEGER NOT NULL REFERENCES items (id), generation INTEGER NOT NULL, "
    "vector BLOB NOT NULL, UNIQUE (model, item))",
    "CREATE INDEX vectors_by_item ON vectors (item)",
    "CREATE INDEX vectors_by_generation ON vectors (model, generation)",
    "CREATE TABLE gone (model INTEGER NOT NULL, item INTEGER NOT NULL, generation INTEGER NOT NULL, "
    "PRIMARY KEY (model, item)) WITHOUT ROWID",
    "CREATE INDEX gone_by_generation ON gone (model, generation)",
    "CREATE TABLE broken (root INTEGER NOT NULL REFERENCES roots (id), path BLOB NOT NULL, reason TEXT NOT NULL, "
    "size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL, PRIMARY KEY (root, path)) WITHOUT ROWID",
)


def connect(folder: Path, create: bool) -> sqlite3.Connection:
    """The catalogue of a folder, ready for use; see `Catalogue.open`.

    Raises:
        BadInput: there is none, a newer Lienzo wrote it, or the file is something else, broken or not writable.
    """
    path, shown = folder / FILE, printable(str(folder), 200)
    if not path.is_file():
        if not create:
            raise BadInput(f"There is no picture index in '{shown}'; make one with: lienzo index FOLDER")
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise BadInput(f"The picture index cannot be made in '{shown}': {error.strerror}.") from error
    connection = None
    try:
        connection = sqlite3.connect(path, timeout=WAIT, isolation_level=None, check_same_thread=False)
        _prepare(connection, shown)
        return connection
    except BaseException as error:
        if connection is not None:
            connection.close()
        if isinstance(error, sqlite3.Error):
            raise BadInput(f"The picture index in '{shown}' cannot be opened: {reason(error)}.") from error
        raise


def _prepare(connection: sqlite3.Connection, shown: str) -> None:
    _check(connection, shown)
    _write_ahead(connection)
    # Every commit waits for the disk; on macOS an ordinary fsync does not, hence fullfsync.
    for pragma in ("synchronous = FULL", "fullfsync = ON", "foreign_keys = ON", "temp_store = MEMORY"):
        connection.execute(f"PRAGMA {pragma}")
    if not _pragma(connection, "user_version"):
        connection.execute("BEGIN IMMEDIATE")
        if not _pragma(connection, "user_version"):  # another process may have been first
            for statement in _SCHEMA:
                connection.execute(statement)
            connection.execute(f"PRAGMA application_id = {APPLICATION}")
            connection.execute(f"PRAGMA user_version = {VERSION}")
        connection.execute("COMMIT")
    connection.create_function("fold", 1, str.casefold, deterministic=True)
    connection.create_function("named", 2, _named, deterministic=True)


def _check(connection: sqlite3.Connection, shown: str) -> None:
    """Refuse a file that another program or a newer Lienzo made, before anything is written to it."""
    application, version = _pragma(connection, "application_id"), _pragma(connection, "user_version")
    tables = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    if tables and application != APPLICATION:
        raise BadInput(f"'{FILE}' in '{shown}' is a database of another program; choose another folder.")
    if version > VERSION:
        raise BadInput(
            f"The picture index in '{shown}' was made by a newer Lienzo (version {version} of the file, this one "
            f"reads {VERSION}); update Lienzo, or make a new index in another folder."
        )


def _write_ahead(connection: sqlite3.Connection) -> None:
    """Switch to the write-ahead log. SQLite does not wait for others in this, so that we must."""
    until = time.monotonic() + WAIT
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > until:
                raise
            time.sleep(0.05)


def _pragma(connection: sqlite3.Connection, name: str) -> int:
    return connection.execute(f"PRAGMA {name}").fetchone()[0]


def _named(path: bytes, pattern: str) -> bool:
    """Whether a relative path or its last part fits a pattern; for the question, case does not matter."""
    text = os.fsdecode(path).casefold()
    return fnmatch.fnmatchcase(text, pattern) or fnmatch.fnmatchcase(text.rpartition("/")[2], pattern)


def reason(error: sqlite3.Error) -> str:
    """What is wrong, in words of a person."""
    text = str(error)
    if "locked" in text:
        return f"another process has been writing to it for more than {WAIT} seconds"
    if "full" in text:
        return "the disk is full"
    if "not a database" in text or "malformed" in text:
        return f"'{FILE}' is broken or no database; move the folder away and index your pictures again"
    if "readonly" in text or "unable to open" in text:
        return f"'{FILE}' or its folder may not be written"
    return text

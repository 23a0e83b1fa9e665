"""A copy is whole whatever goes on meanwhile, and a restore takes it as it is or not at all."""

import json
import sqlite3
from contextlib import closing
from threading import Event, Thread

import pytest

from server import backup
from telemetry.errors import ConfigError
from telemetry.instant import Instant

AT = Instant(1_790_000_000_000)


def table(path, values=(1, 2, 3)):
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA journal_mode=WAL")
        db.execute("CREATE TABLE IF NOT EXISTS t (v)")
        db.executemany("INSERT INTO t VALUES (?)", [(v,) for v in values])
        db.commit()


def values(path):
    with closing(sqlite3.connect(path)) as db:
        return [v for (v,) in db.execute("SELECT v FROM t ORDER BY rowid")]


@pytest.fixture
def data(tmp_path):
    folder = tmp_path / "data"
    folder.mkdir()
    for name in backup.DATABASES:
        table(folder / name)
    (folder / "journal").mkdir()
    (folder / "journal" / "000001.segment").write_bytes(b"sealed")
    (folder / "historian.days").mkdir()
    (folder / "historian.days" / "2026-11-27.parquet").write_bytes(b"day")
    (folder / "engine.checkpoint").write_bytes(b"cache")
    return folder


def test_a_copy_restores_to_what_it_was_taken_from(data, tmp_path):
    copy = backup.back_up(data, tmp_path / "nas", at=AT)
    table(data / "servicecore.db", [4])

    restored = backup.restore(copy.folder, tmp_path / "new")

    assert restored.at == AT
    assert values(tmp_path / "new" / "servicecore.db") == [1, 2, 3]
    assert (tmp_path / "new" / "journal" / "000001.segment").read_bytes() == b"sealed"
    assert (tmp_path / "new" / "historian.days" / "2026-11-27.parquet").read_bytes() == b"day"
    assert not (tmp_path / "new" / "engine.checkpoint").exists()


def test_what_the_tickets_have_seen_is_always_in_the_journal_of_the_copy(data, tmp_path):
    """A writer puts each number into the journal first and into the tickets afterwards."""
    stop = Event()

    def write():
        n = 10
        while not stop.is_set():
            table(data / "journal.db", [n])
            table(data / "servicecore.db", [n])
            n += 1

    writer = Thread(target=write)
    writer.start()
    try:
        copies = [
            backup.back_up(data, tmp_path / "nas", at=Instant(AT + 1000 * n)) for n in range(8)
        ]
    finally:
        stop.set()
        writer.join()

    for copy in copies:
        seen = values(copy.folder / "servicecore.db")
        assert set(seen) <= set(values(copy.folder / "journal.db"))
    assert values(copies[-1].folder / "servicecore.db") != [1, 2, 3]


def test_sealed_files_are_linked_from_copy_to_copy_and_old_copies_go(data, tmp_path):
    first = backup.back_up(data, tmp_path / "nas", at=AT)
    second = backup.back_up(data, tmp_path / "nas", at=Instant(AT + 60_000))

    name = "journal/000001.segment"
    assert (first.folder / name).stat().st_ino == (second.folder / name).stat().st_ino
    assert backup.prune(tmp_path / "nas", keep=1) == [first.folder]
    assert [c.folder for c in backup.copies_in(tmp_path / "nas")] == [second.folder]
    assert (second.folder / name).read_bytes() == b"sealed"


def test_the_standby_copy_holds_tickets_and_journal_as_they_are_now(data, tmp_path):
    backup.keep_standby(data, tmp_path / "nas", at=AT)
    table(data / "servicecore.db", [4])
    copy = backup.keep_standby(data, tmp_path / "nas", at=Instant(AT + 20_000))

    backup.restore(copy.folder, tmp_path / "new")

    assert values(tmp_path / "new" / "servicecore.db") == [1, 2, 3, 4]
    assert not (tmp_path / "new" / "historian.db").exists()
    assert backup.copies_in(tmp_path / "nas") == []


def test_a_damaged_copy_is_named_and_nothing_is_made_of_it(data, tmp_path):
    copy = backup.back_up(data, tmp_path / "nas", at=AT)
    (copy.folder / "journal" / "000001.segment").write_bytes(b"forged")
    (copy.folder / "servicecore.db").unlink()

    with pytest.raises(ConfigError) as error:
        backup.restore(copy.folder, tmp_path / "new")

    assert "000001.segment: expected sha256" in str(error.value)
    assert "servicecore.db: cannot be read" in str(error.value)
    assert not (tmp_path / "new").exists()


def test_a_restore_overwrites_nothing(data, tmp_path):
    copy = backup.back_up(data, tmp_path / "nas", at=AT)

    with pytest.raises(ConfigError, match="expected no folder or an empty one"):
        backup.restore(copy.folder, data)

    assert values(data / "servicecore.db") == [1, 2, 3]


def test_a_manifest_cannot_point_outside_its_copy(data, tmp_path):
    copy = backup.back_up(data, tmp_path / "nas", at=AT)
    path = copy.folder / backup.MANIFEST
    body = json.loads(path.read_text(encoding="utf-8"))
    body["files"]["../../evil"] = "0" * 64
    path.write_text(json.dumps(body), encoding="utf-8")

    with pytest.raises(ConfigError, match="expected names inside the copy"):
        backup.restore(copy.folder, tmp_path / "new")


@pytest.mark.parametrize("folder", ["nothing", "."])
def test_what_is_no_copy_is_refused(tmp_path, folder):
    with pytest.raises(ConfigError, match=r"expected a copy with its backup\.json"):
        backup.restore(tmp_path / folder, tmp_path / "new")


def test_a_folder_without_a_server_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"expected a server's data folder"):
        backup.back_up(tmp_path, tmp_path / "nas", at=AT)

"""The journal: chained, bounded, durable before it is told, and unable to hide what was done to it."""

import errno
import os
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from edge_agent.guardian.storage import journal
from edge_agent.guardian.storage.journal import Journal
from edge_agent.ipc import JournalEntry
from shared.alarms import Event, EventKind, Severity
from shared.clock import ManualClock
from shared.errors import StoreError


def event(title: str = "x") -> Event:
    return Event(id="", kind=EventKind.ACTION, severity=Severity.LOW, key="k", at_ms=1, title=title)


def opened(folder: Path, **options: int) -> Journal:
    return Journal(folder, ManualClock(), "boot-0001", **options)


def filled(folder: Path, count: int = 5) -> None:
    book = opened(folder)
    for number in range(count):
        book.append(event(f"entry {number}"))
    book.close()


def the_file(folder: Path) -> Path:
    [path] = journal.segments(folder)
    return path


def test_entries_come_back_in_order_with_ids_of_their_own(tmp_path: Path) -> None:
    filled(tmp_path)
    page = opened(tmp_path).page(2)
    assert [entry.seq for entry in page] == [3, 4, 5]
    assert page[0].event.id == "boot-000-3"
    assert journal.verify(tmp_path) == (5, [])


def test_only_what_is_durable_is_handed_out(tmp_path: Path) -> None:
    book = opened(tmp_path)
    book.append(event())
    assert (book.head, book.durable_head, book.page(0)) == (1, 0, ())
    assert book.flush()
    assert (book.durable_head, len(book.page(0))) == (1, 1)
    book.close()


def test_numbers_go_on_after_a_restart(tmp_path: Path) -> None:
    filled(tmp_path)
    book = opened(tmp_path)
    assert book.append(event()) == 6
    book.close()
    assert journal.verify(tmp_path) == (6, [])
    assert len(journal.segments(tmp_path)) == 1, "a crash loop does not push history out"


def test_a_page_is_bounded_and_the_cursor_goes_on(tmp_path: Path) -> None:
    book = opened(tmp_path)
    for _ in range(2_500):
        book.append(event("y" * 300))
    book.close()
    again = opened(tmp_path)
    seen, cursor, pages = 0, 0, 0
    while page := again.page(cursor):
        seen, cursor, pages = seen + len(page), page[-1].seq, pages + 1
        assert sum(len(msgspec.json.encode(entry)) for entry in page) <= journal.PAGE_BYTES
    assert (seen, pages > 3) == (2_500, True)


def test_segments_are_bounded_and_the_oldest_go(tmp_path: Path) -> None:
    book = opened(tmp_path, segment_bytes=2_000, keep_segments=3)
    for number in range(100):
        book.append(event(str(number)))
        book.flush()
    book.close()
    assert len(journal.segments(tmp_path)) == 3
    good, broken = journal.verify(tmp_path, keep_segments=3)
    assert broken == []
    assert journal.glance(tmp_path, keep_segments=3) == ""
    assert 5 < good < 100
    assert opened(tmp_path).page(0)[-1].seq == 100


def change_a_word(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b"entry 2", b"entry 9"))


def drop_a_line(path: Path) -> None:
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:2] + lines[3:]))


def swap_lines(path: Path) -> None:
    lines = path.read_bytes().splitlines(keepends=True)
    lines[1], lines[2] = lines[2], lines[1]
    path.write_bytes(b"".join(lines))


def cut_the_end(path: Path) -> None:
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:-1]))


def rewrite_with_true_hashes(path: Path) -> None:
    """A forger who knows the format changes one entry and its hash, and cannot fix the next link."""
    lines = path.read_bytes().splitlines()
    entry = msgspec.json.decode(lines[2], type=JournalEntry)
    forged = msgspec.structs.replace(entry, event=msgspec.structs.replace(entry.event, title="nothing"))
    forged = msgspec.structs.replace(forged, hash=journal.digest(forged))
    lines[2] = msgspec.json.encode(forged)
    path.write_bytes(b"\n".join(lines) + b"\n")


def scribble(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(bytes(data))


@pytest.mark.parametrize(
    "tamper", [change_a_word, drop_a_line, swap_lines, cut_the_end, rewrite_with_true_hashes, scribble]
)
def test_tampering_shows(tmp_path: Path, tamper: Callable[[Path], None]) -> None:
    filled(tmp_path)
    tamper(the_file(tmp_path))
    assert journal.verify(tmp_path)[1]


@pytest.mark.parametrize("cut", [1, 10, 50])
def test_a_torn_last_write_is_cut_off_and_costs_nothing_that_was_told(tmp_path: Path, cut: int) -> None:
    filled(tmp_path)
    path = the_file(tmp_path)
    line = path.read_bytes().splitlines()[-1]
    with path.open("ab") as file:
        file.write(line[:-cut])
    book = opened(tmp_path)
    assert book.append(event()) == 6
    assert book.repaired == ""
    book.close()
    assert journal.verify(tmp_path) == (6, [])


def test_damage_in_the_middle_is_told_and_writing_goes_on(tmp_path: Path) -> None:
    filled(tmp_path)
    path = the_file(tmp_path)
    lines = path.read_bytes().splitlines(keepends=True)
    lines[2] = b"garbage\n"
    path.write_bytes(b"".join(lines))
    book = opened(tmp_path)
    assert "damaged" in book.repaired
    assert book.append(event()) == 6
    book.close()
    assert [entry.seq for entry in opened(tmp_path).page(0)] == [1, 2, 4, 5, 6]


def test_a_lost_end_is_told_and_its_numbers_are_not_used_again(tmp_path: Path) -> None:
    filled(tmp_path)
    cut_the_end(the_file(tmp_path))
    book = opened(tmp_path)
    assert "missing" in book.repaired
    assert book.append(event()) == 6
    book.close()


def test_a_full_disk_keeps_entries_until_there_is_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    book = opened(tmp_path)
    book.append(event("one"))
    book.flush()
    real = os.write

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    book.append(event("two"))
    assert not book.flush()
    assert not book.ok
    assert not (tmp_path / "journal.reserve").exists(), "the reserve is given up"
    monkeypatch.setattr(os, "write", real)
    with monkeypatch.context() as tight:
        tight.setattr(journal, "RESERVE_BYTES", 1 << 60)
        assert not book.flush(), "nothing is raised on the reserve's room"
        assert not book.ok
        assert book.is_durable(2), "but what happens is written"
        assert not list(tmp_path.glob("*.reserve*")), "half a reserve would take the room of the next entry"
    assert book.flush()
    assert book.ok
    assert (tmp_path / "journal.reserve").exists(), "and is there for the next time"
    book.close()
    assert journal.verify(tmp_path) == (2, [])


def test_half_a_write_before_the_disk_is_full_leaves_no_half_entry(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    book = opened(tmp_path)
    book.append(event("one"))
    book.flush()
    real = os.write
    calls = iter([True, False])

    def half(descriptor: int, data: bytes) -> int:
        if next(calls, False):
            return real(descriptor, bytes(data)[:20])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "write", half)
    book.append(event("two"))
    assert not book.flush()
    monkeypatch.setattr(os, "write", real)
    assert book.flush()
    book.close()
    assert journal.verify(tmp_path) == (2, [])


def test_a_head_that_cannot_be_noted_writes_no_entry_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The entries are on the disk by then; only the note of how far they go is not."""
    book = opened(tmp_path)
    book.append(event("one"))

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(Path, "write_text", full)
        assert book.flush()
    book.append(event("two"))
    assert book.flush()
    book.close()
    assert journal.verify(tmp_path) == (2, [])


def in_segments(folder: Path) -> list[Path]:
    book = opened(folder, segment_bytes=2_000)
    for number in range(30):
        book.append(event(f"entry {number}"))
        book.flush()
    book.close()
    files = journal.segments(folder)
    assert len(files) > 4
    return files


@pytest.mark.parametrize(("gone", "said"), [(0, "before it are missing"), (2, "follows"), (-1, "missing")])
def test_a_deleted_segment_is_told_at_the_start(tmp_path: Path, gone: int, said: str) -> None:
    in_segments(tmp_path)[gone].unlink()
    book = opened(tmp_path)
    assert said in book.repaired
    assert book.append(event()) == 31
    book.close()
    assert journal.verify(tmp_path)[1]


def test_a_flipped_bit_that_still_decodes_is_told_at_the_start(tmp_path: Path) -> None:
    filled(tmp_path)
    change_a_word(the_file(tmp_path))
    book = opened(tmp_path)
    assert "journal-000000000001.jsonl:3: entry 3 was changed" in book.repaired
    book.close()


def test_segments_that_hold_are_not_called_damaged(tmp_path: Path) -> None:
    in_segments(tmp_path)
    book = opened(tmp_path)
    assert book.repaired == ""
    book.close()


def test_a_full_disk_at_the_start_is_not_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal, "RESERVE_BYTES", 1 << 60)
    book = opened(tmp_path)
    book.append(event())
    assert not book.ok
    assert not book.flush()
    assert book.is_durable(1)
    book.close()


def test_an_empty_folder_is_no_journal_that_holds(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="there is no journal at"):
        journal.verify(tmp_path)

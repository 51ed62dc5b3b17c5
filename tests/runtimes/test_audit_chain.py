"""The audit log: each line follows from the one before; whatever is done to it afterwards shows."""

from __future__ import annotations

import multiprocessing
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import NotFound
from engine.runtimes.audit import Act, AuditLine, Head, accepted, encode_line, hash_of, head_of, seal, verify
from engine.runtimes.embedded import audit as on_disk
from engine.runtimes.embedded.store import FILE

T0 = 1_800_000_000_000


def _chain(count: int, start: Head | None = None) -> list[bytes]:
    head, texts = start or Head(), []
    for number in range(count):
        act = Act(act="pause", what=f"flow-{number}", customer="ana" if number % 3 else "", why="too much\nat once")
        line = seal(act, head, at_ms=T0 + number, who="kim", alias=lambda _: "customer:1f")
        texts.append(encode_line(line))
        head = head_of(line)
    return texts


def test_a_chain_that_nobody_touched_holds() -> None:
    """Also an empty one; and one whose beginning is gone, from a known end on."""
    texts = _chain(7)
    found = verify(texts)
    assert not found.breaks
    assert [line.number for line in found.lines] == [1, 2, 3, 4, 5, 6, 7]
    assert found.lines[1].why == "too much at once"
    assert verify([]).head == Head()
    assert not verify(texts[3:], start=head_of(found.lines[2])).breaks
    assert verify(texts[3:]).breaks


@given(st.data())
def test_whatever_is_done_to_it_shows(data: st.DataObject) -> None:
    """A byte changed, a field changed and hashed anew, lines taken out, put in, said twice or swapped: never unseen."""
    texts = _chain(8)
    at = data.draw(st.integers(0, 6), "where; the last line has nothing after it")
    match data.draw(st.sampled_from(["byte", "field", "remove", "insert", "twice", "swap", "blank"])):
        case "byte":
            place = data.draw(st.integers(0, len(texts[at]) - 1))
            byte = data.draw(st.integers(0, 255).filter(lambda byte: byte != texts[at][place]))
            texts[at] = texts[at][:place] + bytes([byte]) + texts[at][place + 1 :]
        case "field":
            line = msgspec.json.decode(texts[at], type=AuditLine)
            name = data.draw(st.sampled_from(["who", "what", "why", "act", "customer", "at"]))
            forged = msgspec.structs.replace(line, **{name: "forged"})
            texts[at] = encode_line(msgspec.structs.replace(forged, hash=hash_of(forged)))
        case "remove":
            del texts[at : data.draw(st.integers(at + 1, 7))]
        case "insert":
            before = verify(texts[:at]).head
            line = seal(Act(act="erase"), before, at_ms=T0, who="mallory", alias=str)
            texts.insert(at, encode_line(line))
        case "twice":
            texts.insert(at, texts[at])
        case "swap":
            texts[at], texts[at + 1] = texts[at + 1], texts[at]
        case _:
            texts.insert(at, b"")
    assert verify(texts).breaks


@given(st.lists(st.binary(max_size=60), max_size=6))
def test_any_bytes_are_read_without_an_accident(texts: list[bytes]) -> None:
    """Lines that are none are said to be none, each."""
    assert len(verify(texts).breaks) == len(texts)
    assert accepted(texts) == texts


def test_of_lines_that_were_appended_at_once_the_first_counts() -> None:
    """The late one is left out, wherever it stands; what was put in by hand is not."""
    texts = _chain(4)
    heads = [Head(), *(head_of(line) for line in verify(texts).lines)]
    late = [encode_line(seal(Act(act="resume"), heads[2], at_ms=T0, who=who, alias=str)) for who in ("lee", "max")]
    assert accepted([*texts[:3], late[0], texts[3], late[1]]) == texts
    forged = verify([late[0]]).lines[0]
    unhashed = encode_line(msgspec.structs.replace(forged, who="mallory"))
    assert unhashed in accepted([*texts, unhashed])


def _note_many(var: str, who: str, count: int) -> None:
    for number in range(count):
        on_disk.note(Path(var), Act(act="retry", what=f"{who}-{number}"), at_ms=T0, who=who)


def test_processes_that_append_at_once_leave_one_chain(tmp_path: Path) -> None:
    """Three times twenty lines, none lost, none out of turn; the end that is said is the end."""
    (tmp_path / FILE).touch()
    context = multiprocessing.get_context("spawn")
    crew = [context.Process(target=_note_many, args=(str(tmp_path), who, 20)) for who in ("ada", "bob", "cem")]
    for each in crew:
        each.start()
    for each in crew:
        each.join(60)
        assert each.exitcode == 0
    texts, said = on_disk.read(tmp_path)
    found = verify(texts)
    assert not found.breaks
    assert len(found.lines) == 60
    assert said == str(found.head)


def test_a_line_that_a_dead_process_left_half_written_is_cut_off(tmp_path: Path) -> None:
    """What it was to tell was not begun; the chain goes on after the last whole line."""
    (tmp_path / FILE).touch()
    for what in ("a", "b"):
        on_disk.note(tmp_path, Act(act="pause", what=what), at_ms=T0, who="kim")
    with (tmp_path / on_disk.LOG).open("ab") as file:
        file.write(b'{"number":3,"at":"2026-')
    on_disk.note(tmp_path, Act(act="pause", what="c"), at_ms=T0, who="kim")
    texts, _ = on_disk.read(tmp_path)
    assert [line.what for line in verify(texts).lines] == ["a", "b", "c"]
    assert not verify(texts).breaks


def test_lines_that_were_cut_off_at_the_end_do_not_match_the_end_that_is_said(tmp_path: Path) -> None:
    """The chain before them is whole: only the end tells. No customer's id is in the files, and nobody else may read them."""
    (tmp_path / FILE).touch()
    for number in range(3):
        on_disk.note(tmp_path, Act(act="export", customer="ana-canary", what=str(number)), at_ms=T0, who="kim")
    log = tmp_path / on_disk.LOG
    assert b"ana-canary" not in log.read_bytes()
    assert log.stat().st_mode & 0o777 == 0o600
    log.write_bytes(b"".join(log.read_bytes().splitlines(keepends=True)[:2]))
    texts, said = on_disk.read(tmp_path)
    assert not verify(texts).breaks
    assert said != str(verify(texts).head)


def test_where_nothing_ever_ran_there_is_nothing_to_note(tmp_path: Path) -> None:
    """It makes no file in a folder that is no engine's."""
    with pytest.raises(NotFound):
        on_disk.note(tmp_path, Act(act="pause"), at_ms=T0, who="kim")
    assert list(tmp_path.iterdir()) == []

"""The audit log: each line follows from the one before; whatever is done to it afterwards shows."""

from __future__ import annotations

import asyncio
import functools
import multiprocessing
import uuid
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.clock import SystemClock
from engine.errors import NotFound, SettingsError
from engine.runtimes.audit import Act, AuditLine, Head, accepted, encode_line, follow, hash_of, head_of, seal, verify
from engine.runtimes.embedded import audit as on_disk
from engine.runtimes.embedded.store import FILE
from engine.runtimes.kafka.admin import ensure_topics
from engine.runtimes.kafka.operating import audit as on_kafka
from engine.runtimes.kafka.topics import Topics
from engine.runtimes.memory_ports import MemoryRuntime
from engine.settings import Settings, load_settings
from engine.telemetry import Metrics
from engine.watches.chain_heads import ChainHeads
from engine.watches.watch import WatchNeeds
from tests.conformance.shop import catalog

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
    (tmp_path / FILE).write_bytes(b"x")
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
    (tmp_path / FILE).write_bytes(b"x")
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
    (tmp_path / FILE).write_bytes(b"x")
    (tmp_path / "secret.key").write_bytes(b"s" * 32)
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
    """It makes no file in a folder that is not an engine's."""
    with pytest.raises(NotFound):
        on_disk.note(tmp_path, Act(act="pause"), at_ms=T0, who="kim")
    assert list(tmp_path.iterdir()) == []


KEY, OTHER = b"k" * 32, b"o" * 32


def _keyed(var: Path) -> list[bytes]:
    """Two lines from before there was a key, two with it."""
    (var / FILE).write_bytes(b"x")
    (var / "secret.key").write_bytes(b"s" * 32)
    for number, key in enumerate((b"", b"", KEY, KEY)):
        on_disk.note(var, Act(act="pause", what=str(number)), at_ms=T0, who="kim", key=key)
    return on_disk.read(var)[0]


def test_lines_with_a_mac_follow_lines_without(tmp_path: Path) -> None:
    """Who has the key verifies them; who has none verifies the chain. Another key is told apart, a changed one is still good."""
    texts = _keyed(tmp_path)
    assert b'"mac"' not in texts[1]
    assert b'"mac"' in texts[2]
    for keys in ((), (KEY,), (OTHER, KEY)):
        found = verify(texts, keys=keys)
        assert (found.breaks, found.keyed) == ((), 2)
    assert [each.place for each in verify(texts, keys=(OTHER,)).breaks] == [3, 4]


def test_a_keyed_log_takes_no_line_without_the_key(tmp_path: Path) -> None:
    """Nothing is done then."""
    texts = _keyed(tmp_path)
    with pytest.raises(SettingsError, match="kept with a key"):
        on_disk.note(tmp_path, Act(act="resume"), at_ms=T0, who="kim")
    assert on_disk.read(tmp_path)[0] == texts


@pytest.mark.parametrize("key", [b"", OTHER])
@pytest.mark.parametrize("since", [0, 1, 2, 3])
def test_a_log_that_is_written_anew_shows_by_its_macs_and_against_a_noted_end(
    key: bytes, since: int, tmp_path: Path
) -> None:
    """From the first line on or from a later one, without a mac or with one of another key: whole for who has neither."""
    texts = _keyed(tmp_path)
    noted = verify(texts).head
    forged, head = texts[:since], verify(texts[:since]).head
    for number in range(since, 5):
        line = seal(Act(act="pause", what=f"forged {number}"), head, at_ms=T0, who="kim", alias=str, key=key)
        forged.append(encode_line(line))
        head = head_of(line)
    assert verify(forged, keys=(KEY,)).breaks
    assert noted not in {head_of(line) for line in verify(forged).lines}
    if since < 3:
        assert not verify(forged).breaks


def test_where_chains_end_is_said_once_in_log_and_metrics(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A chain that became shorter, or another one, is an error."""
    metrics = Metrics()
    settings = Settings(project=tmp_path)
    around = WatchNeeds(settings=settings, runtime=MemoryRuntime(catalog()), clock=SystemClock(), metrics=metrics)
    heads = ChainHeads(around)
    for number, digest in ((1, "a"), (1, "a"), (2, "b"), (2, "c")):
        heads.say({"audit": Head(number=number, hash=digest * 64)})
    page = [line for line in metrics.expose().decode().splitlines() if line.startswith("anlass_chain_length{")]
    assert page == [f'anlass_chain_length{{chain="audit",hash="{"c" * 16}"}} 2.0']
    told = capsys.readouterr().out
    assert (told.count("chain_extended"), told.count("chain_shrank")) == (2, 1)


def test_a_key_is_long_enough_and_stands_in_no_shared_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Several in a file: the first signs, all verify."""
    (tmp_path / "anlass.toml").write_text('[audit]\nkey = "' + "k" * 32 + '"\n')
    with pytest.raises(SettingsError, match=r"audit\.key is a secret"):
        load_settings(tmp_path)
    (tmp_path / "anlass.toml").write_text('[audit]\nkey_file = "audit.key"\n')
    (tmp_path / "audit.key").write_bytes(KEY + b"\n" + OTHER + b"\n")
    found = load_settings(tmp_path).audit
    assert (found.signing_key, found.keys) == (KEY, (KEY, OTHER))
    (tmp_path / "anlass.toml").unlink()
    monkeypatch.setenv("ANLASS_AUDIT__KEY", "short")
    with pytest.raises(SettingsError, match="shorter"):
        load_settings(tmp_path)


async def test_on_kafka_lines_are_keyed_as_well(kafka: str) -> None:
    """And a command without the key writes none."""
    topics = Topics(f"a{uuid.uuid4().hex[:8]}.")
    await asyncio.to_thread(ensure_topics, kafka, topics, partitions=1, replication=1)
    after = functools.partial(follow, Act(act="pause"), at_ms=T0, who="kim", alias=str)
    for key in (b"", KEY):
        await on_kafka.note(kafka, topics, functools.partial(after, key=key))
    texts = await on_kafka.read(kafka, topics)
    found = verify(texts, keys=(KEY,))
    assert (len(found.lines), found.keyed, found.breaks) == (2, 1, ())
    with pytest.raises(SettingsError, match="kept with a key"):
        await on_kafka.note(kafka, topics, after)
    assert await on_kafka.read(kafka, topics) == texts

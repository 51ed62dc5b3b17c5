"""The benchmarks' sink really counts: a benchmark stands on it."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks.smtp_sink import stats
from channels.contract import OutgoingMessage, PermanentError, Verdict
from channels.mail.email import EmailChannel, EmailSettings

Outgoing = Callable[..., OutgoingMessage]


class Running:
    """The sink as its own process."""

    def __init__(self, *arguments: str) -> None:
        root = Path(__file__).parents[2]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.smtp_sink", "--port", "0", *arguments],
            stdout=subprocess.PIPE,
            text=True,
            cwd=root,
            env=os.environ | {"PYTHONPATH": str(root)},
        )
        assert self.process.stdout is not None
        self.port: int = json.loads(self.process.stdout.readline())["listening"]

    def end(self) -> dict[str, Any]:
        self.process.send_signal(signal.SIGTERM)
        out, _ = self.process.communicate(timeout=10)
        result: dict[str, Any] = json.loads(out)
        return result


@pytest.fixture
def sink() -> Iterator[Callable[..., Running]]:
    running: list[Running] = []

    def start(*arguments: str) -> Running:
        running.append(Running(*arguments))
        return running[-1]

    yield start
    for one in running:
        if one.process.poll() is None:
            one.process.kill()
            one.process.wait()
        assert one.process.stdout is not None
        one.process.stdout.close()


async def _opened(port: int) -> EmailChannel:
    channel = EmailChannel(EmailSettings(host="127.0.0.1", port=port, from_="s@example.com", connections=5))
    await channel.open()
    return channel


async def test_it_finds_duplicates_and_missing_ones(
    sink: Callable[..., Running], outgoing: Outgoing, tmp_path: Path
) -> None:
    """Fifty sent, one of them twice, one never: the statistics and the journal say exactly that."""
    expected = [outgoing(n).id for n in range(51)]
    (tmp_path / "expected").write_text("\n".join(expected))
    running = sink("--expect", str(tmp_path / "expected"), "--journal", str(tmp_path / "journal"))
    channel = await _opened(running.port)
    text = ".\r\n" + "über\n" * 2_000
    await asyncio.gather(*(channel.send(outgoing(n, text=text)) for n in range(50)))
    await channel.send(outgoing(7))
    await channel.close()
    asked = await asyncio.to_thread(stats, "127.0.0.1", running.port)
    assert asked["messages"] == 51
    ended = running.end()
    assert (ended["distinct"], ended["duplicates"], ended["duplicate_ids"]) == (50, 1, [outgoing(7).id])
    assert (ended["missing"], ended["missing_ids"]) == (1, [outgoing(50).id])
    assert ended["unexpected"] == 0
    journal = [json.loads(line)["id"] for line in (tmp_path / "journal").read_text().splitlines()]
    assert sorted(journal) == sorted([*expected[:50], expected[7]])


async def test_it_refuses_by_rule(sink: Callable[..., Running], outgoing: Outgoing) -> None:
    """Rules by address; everything else is taken."""
    running = sink("--reject", "^full@=552 5.2.2 full", "--reject", "^gone@=550 5.1.1 gone", "--no-pipelining")
    channel = await _opened(running.port)
    with pytest.raises(PermanentError) as caught:
        await channel.send(outgoing(1, to="gone@example.com"))
    assert caught.value.address_verdict is Verdict.SUPPRESS
    with pytest.raises(PermanentError):
        await channel.send(outgoing(2, to="full@example.com"))
    await channel.send(outgoing(3))
    await channel.close()
    ended = running.end()
    assert (ended["messages"], ended["rejected"]) == (1, 2)

"""What is seen while the demo runs: a table that keeps changing on a terminal, a line a second anywhere else.

Invariant: shows what the engine counts itself, never what the demo hopes for.
"""

from __future__ import annotations

import datetime as dt
from typing import Any, Self

import msgspec
from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from engine.demo.script import DAY_MS, DAYS

_FRAMES_PER_SECOND = 5


class Glance(msgspec.Struct, frozen=True):
    """One look at everything. `counts` are the runtime's, `told` the shop's, `seconds` those since the opening."""

    now_ms: int
    start_ms: int
    seconds: float
    counts: dict[str, Any]
    told: dict[str, int]

    @property
    def day(self) -> int:
        """The day of the demo, from 1."""
        return min(DAYS, (self.now_ms - self.start_ms) // DAY_MS + 1)

    @property
    def date(self) -> str:
        """The compressed date."""
        return dt.datetime.fromtimestamp(self.now_ms / 1_000, dt.UTC).strftime("%a %d %b %Y")

    def entered(self) -> int:
        """Enrollments of all workflows."""
        return sum(by["entered"] for by in self.counts["enrollments"].values())

    def messages(self) -> str:
        """`email 12 sent 1 failed · sms 3 sent`."""
        parts = []
        for channel, by in self.counts["messages"].items():
            answers = " ".join(f"{number} {status}" for status, number in by.items() if number)
            if answers:
                parts.append(f"{channel} {answers}")
        return " · ".join(parts) or "none yet"


class Board:
    """Shows glances. A context: the terminal is itself again afterwards, whatever happens."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live: Live | None = None

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._live = Live(console=self._console, auto_refresh=False, transient=True)
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None

    @property
    def interval_seconds(self) -> float:
        """How often it wants a glance."""
        return 1.0 if self._live is None else 1 / _FRAMES_PER_SECOND

    def show(self, glance: Glance) -> None:
        """The newest glance."""
        if self._live is not None:
            self._live.update(_picture(glance), refresh=True)
            return
        self._console.print(
            f"{glance.seconds:5.1f} s  day {glance.day:2d}/{DAYS}  {glance.date}  events {glance.told.get('accepted', 0)}"
            f"  customers {glance.counts['customers']}  enrollments {glance.entered()}  {glance.messages()}",
            highlight=False,
            soft_wrap=True,
        )


def _picture(glance: Glance) -> Group:
    head = Text.assemble(
        ("Anlass", "bold"),
        "  a shop in compressed time   ",
        (glance.date, "bold cyan"),
        f"   day {glance.day} of {DAYS}",
    )
    counts = glance.counts
    facts = Table.grid(padding=(0, 2))
    for label, value in (
        ("events", f"{glance.told.get('accepted', 0)} accepted, {glance.told.get('refused', 0)} refused"),
        ("customers", str(counts["customers"])),
        ("messages", glance.messages()),
        ("timers", f"{counts['timers']['pending']} pending"),
    ):
        facts.add_row(Text(label, style="dim"), value)
    flows = Table(box=None, pad_edge=False)
    for heading in ("workflow", "entered", "active", "completed", "exited"):
        flows.add_column(heading, justify="left" if heading == "workflow" else "right", header_style="dim")
    for workflow, by in counts["enrollments"].items():
        flows.add_row(workflow, *(str(by[name]) for name in ("entered", "active", "completed", "exited")))
    bar = ProgressBar(total=DAYS * DAY_MS, completed=glance.now_ms - glance.start_ms, width=60)
    return Group(head, bar, Text(), facts, Text(), flows)

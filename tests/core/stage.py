"""A small stage for tests of the evaluator: a project from YAML texts, played on the memory runtime.

Invariant: time only passes by what a test says; all times are durations (of 24-hour days) after the start, a Monday 09:00 UTC.
"""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Any

from engine.clock import ManualClock, from_rfc3339
from engine.core.effect import Decision, as_line
from engine.core.record import Absorb, Consent, Enroll, Event, Identify, Merge, Outcome, Record, Retry, Timer
from engine.core.time.schedule import parse_duration
from engine.definition.load import load_files
from engine.rehearsal.report import elapsed
from engine.runtimes.memory import Memory

if TYPE_CHECKING:
    from collections.abc import Iterable

    from engine.core.catalog import Catalog
    from engine.core.customer import CustomerState
    from engine.core.message import Message

START = "2026-03-02T09:00:00Z"
POLICY = """
policy: default
zone: UTC
purposes:
  transactional: {consent: none}
  marketing: {consent: opt_in, double: [email]}
  service: {consent: existing_customer, similar_goods: what was bought}
"""
ENDS = ("entered", "not_entered", "completed", "exited", "failed")
_SHOWN = ("workflow", "step", "channel", "answer", "reason", "segment", "event", "title", "variant", "value")


def compiled(*documents: str, policy: str = POLICY) -> Catalog:
    """The catalog of these YAML texts."""
    files = []
    for index, document in enumerate([policy, *documents]):
        text = textwrap.dedent(document).strip() + "\n"
        key, _, rest = text.partition(":")
        name = rest.split("\n", 1)[0].strip() if key == "workflow" else f"file{index}"
        files.append((f"workflows/{name}.yaml", text.encode()))
    loaded = load_files(files)
    assert loaded.catalog is not None, [str(problem) for problem in loaded.problems]
    return loaded.catalog


class Play:
    """Plays one project. `at` is a duration after the start."""

    def __init__(self, *documents: str, policy: str = POLICY, start: str = START) -> None:
        self.start_ms = from_rfc3339(start)
        self.memory = Memory(compiled(*documents, policy=policy), clock=ManualClock(self.start_ms), keep_log=True)
        self._ids = 0

    def at_ms(self, at: str) -> int:
        """The instant of a duration after the start, or of an RFC 3339 text."""
        return from_rfc3339(at) if at[4:5] == "-" else self.start_ms + parse_duration(at).span_ms

    def next_id(self) -> str:
        """An id that no other record has."""
        self._ids += 1
        return f"r{self._ids}"

    def record(self, record: Record) -> None:
        """Applies a record after the timers that are due before it."""
        self.memory.run_until(record.at_ms)
        self.memory.step(record)

    def event(
        self,
        at: str,
        name: str,
        properties: dict[str, Any] | None = None,
        *,
        customer: str = "c1",
        time: str = "",
        id: str = "",
    ) -> None:
        """An event; `time` when it happened, if earlier."""
        at_ms = self.at_ms(at)
        time_ms = self.at_ms(time) if time else at_ms
        event_id = id or self.next_id()
        self.record(
            Event(customer=customer, at_ms=at_ms, id=event_id, name=name, time_ms=time_ms, properties=properties or {})
        )

    def identify(self, at: str, *, customer: str = "c1", time: str = "", **traits: Any) -> None:
        """Traits; `consent` among them is consent."""
        at_ms = self.at_ms(at)
        time_ms = self.at_ms(time) if time else at_ms
        self.record(Identify(customer=customer, at_ms=at_ms, id=self.next_id(), time_ms=time_ms, traits=traits))

    def consent(
        self, at: str, action: str, purposes: dict[str, list[str]], *, customer: str = "c1", **more: Any
    ) -> None:
        """A change of consent by a link; `more` are `time`, `proof` and `source`."""
        at_ms = self.at_ms(at)
        time_ms = self.at_ms(more.pop("time")) if "time" in more else at_ms
        self.record(
            Consent(
                customer=customer, at_ms=at_ms, id=self.next_id(), time_ms=time_ms, action=action, purposes=purposes, **more
            )
        )  # fmt: skip

    def outcome(
        self, at: str, outcome: str, step: str = "", *, message: str = "", customer: str = "c1", **detail: Any
    ) -> None:
        """An outcome of a message, or of the customer's newest message of that step."""
        at_ms = self.at_ms(at)
        self.record(
            Outcome(
                customer=customer,
                at_ms=at_ms,
                id=self.next_id(),
                time_ms=at_ms,
                outcome=outcome,
                message=message,
                step=step,
                detail=detail,
            )
        )

    def enroll(self, at: str, workflow: str, *, customer: str = "c1", **properties: Any) -> None:
        """A manual entry."""
        at_ms = self.at_ms(at)
        self.record(Enroll(customer=customer, at_ms=at_ms, id=self.next_id(), workflow=workflow, properties=properties))

    def retry(self, at: str, *, enrollment: str = "", workflow: str = "", customer: str = "c1") -> None:
        """An operator lets failed runs move again."""
        at_ms = self.at_ms(at)
        self.record(Retry(customer=customer, at_ms=at_ms, id=self.next_id(), enrollment=enrollment, workflow=workflow))

    def late_timer(self, at: str, *, customer: str = "c1") -> None:
        """The customer's timer fires only now: the machine was down when it was due."""
        due_ms = self.state(customer).next_due_ms
        assert due_ms, "something is pending"
        self.memory.step(Timer(customer=customer, at_ms=self.at_ms(at), due_ms=due_ms))

    def merge(self, at: str, customer: str, into: str) -> None:
        """Two ids turn out to be one person."""
        self.record(Merge(customer=customer, at_ms=self.at_ms(at), id=self.next_id(), into=into))

    def until(self, at: str) -> None:
        """Lets time pass."""
        self.memory.run_until(self.at_ms(at))

    def state(self, customer: str = "c1") -> CustomerState:
        """The customer's state."""
        return self.memory.states[customer]

    @property
    def messages(self) -> list[Message]:
        """All messages that were queued."""
        return self.memory.messages

    @property
    def log(self) -> list[Record]:
        """Every record that was applied, also those that a decision appended."""
        assert self.memory.log is not None
        return [record for _, record in self.memory.log]

    def decisions(self, *kinds: str, customer: str = "c1") -> list[Decision]:
        """The customer's decisions of these kinds."""
        return [one for one in self.memory.decisions if one.kind in kinds and one.customer == customer]

    def details(self, kind: str, *, customer: str = "c1") -> list[dict[str, Any]]:
        """What the customer's decisions of this kind say."""
        return [decision.detail for decision in self.decisions(kind, customer=customer)]

    def lines(self, *kinds: str, customer: str = "c1") -> list[str]:
        """The customer's decisions of these kinds, as short lines: `1d2h send cart reminder email queued`."""
        return [self._line(decision) for decision in self.decisions(*kinds, customer=customer)]

    def _line(self, decision: Decision) -> str:
        line = as_line(decision)
        parts = [elapsed(decision.at_ms - self.start_ms), decision.kind]
        parts += [str(line[name]) for name in _SHOWN if line.get(name) not in (None, "")]
        return " ".join(parts)

    def due(self, customer: str = "c1") -> str:
        """When something is next pending for the customer, after the start; "" when nothing is."""
        due_ms = self.state(customer).next_due_ms
        return elapsed(due_ms - self.start_ms) if due_ms else ""


def all_absorbed(records: Iterable[Record]) -> list[Absorb]:
    """The second halves of merges among records."""
    return [record for record in records if isinstance(record, Absorb)]


def workflow(head: str, steps: str = "[{wait: 1h}]", *, name: str = "w") -> str:
    """A transactional workflow in few words: `head` is its YAML after the name, `steps` the value of `steps:`."""
    body = textwrap.indent(textwrap.dedent(steps).strip(), "  ")
    return f"workflow: {name}\npurpose: transactional\n{textwrap.dedent(head).strip()}\nsteps:\n{body}\n"

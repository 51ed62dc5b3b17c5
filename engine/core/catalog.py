"""Everything a decision is taken with: the workflows in force and those still in use, segments, policy.

Invariant: a catalog is a value with a content hash (`id`); what concerns an event is looked up by its name, once.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Container, Mapping

import msgspec

from engine.core.expression.condition import Expression
from engine.core.journey.holding import NOTHING, Holding
from engine.core.journey.workflow import Workflow
from engine.core.policy import Policy


class Segment(msgspec.Struct, frozen=True):
    """A segment: customers for whom `where` holds."""

    name: str
    where: Expression


class Interest(msgspec.Struct, frozen=True):
    """What an event name means to the catalog. Absent from `Catalog.interests`: nothing, the state need not be loaded."""

    counted: tuple[str, ...] | None = None
    """Properties summed for the aggregate of this event; None: it is not counted at all."""
    window_days_max: int = 0
    """Largest window asked for; 0: none, only totals."""
    segments: tuple[str, ...] = ()
    """Segments whose condition asks about this event."""
    triggers: tuple[str, ...] = ()
    """Workflows it may enter, in name order."""
    remembered: tuple[str, ...] | None = None
    """Properties with which it is remembered for a merge, because an exit rule, a goal or a wait names it; None: it is not."""


class Catalog(msgspec.Struct, frozen=True, kw_only=True):
    """The definitions in force. `workflows` are the current versions by name; `versions` all that are in use."""

    id: str
    workflows: dict[str, Workflow]
    versions: dict[tuple[str, str], Workflow]
    segments: dict[str, Segment]
    policy: Policy
    interests: dict[str, Interest]
    """Event name → what it means, over all versions in use (also waits, exits, goals, restarts)."""
    segment_triggers: dict[str, tuple[str, ...]] = {}
    """Segment name → workflows it may enter, in name order."""
    segment_traits: dict[str, tuple[str, ...]] = {}
    """Trait name → segments that ask about it (`*` = any trait)."""
    timed: tuple[str, ...] = ()
    """Workflows with a date or schedule trigger, in name order."""
    paused: frozenset[str] = frozenset()
    paused_ms: Mapping[str, int] = {}
    """Of those, since when: what was due before is held; absent or 0: what it decides is suppressed, whenever it was due."""
    holding: Holding = NOTHING
    holidays: Mapping[str, Container[dt.date]] = {}
    """Country code → its public holidays, asked with `day in …`; "" = the project's."""
    read_phone: Callable[[str, str], tuple[str, str]] | None = None
    """Reads a telephone number: a text and a country ("": the project's) → (E.164, "") or ("", why it is none)."""
    channels: frozenset[str] = frozenset()
    """Channels that its workflows and its policy name, beside those that are always there."""
    sandbox: bool = False
    """Nothing leaves: every send is suppressed as `sandbox`."""
    winners: Mapping[str, str] = {}
    """Test of subjects (`broadcast.test_key`) → the variant that won; newest last."""
    winner_wait_ms: int = 3_600_000
    """How long after the end of a test its winner is waited for; then it is the first variant."""

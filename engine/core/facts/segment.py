"""Who is in which segment, kept live: worked out anew when an input changes or a window lets it.

Invariant: after a turn every membership is what its condition says at the turn's time, and `segments_due_ms` is not later
than the next moment at which one may change by itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine.errors import ExpressionError

if TYPE_CHECKING:
    from collections.abc import Collection

    from engine.core.turn import Turn


def refresh(turn: Turn, names: Collection[str] | None) -> None:
    """Works out these segments (None: all) and those that ask about them. Adds facts and journal lines for changes."""
    catalog, state, scope = turn.catalog, turn.state, turn.scope
    changed: set[str] = set()
    event = (scope.event_id, scope.event_name, scope.event_ms, scope.properties)
    turn.show_event(id="", name="", time_ms=0, properties={})
    due_ms = 0 if names is None else state.segments_due_ms
    for name, segment in catalog.segments.items():
        if names is not None and name not in names and changed.isdisjoint(segment.where.segments):
            continue
        scope.change_ms = 0
        try:
            member = turn.holds(segment.where, None)
        except ExpressionError as error:
            turn.decide("failed", segment=name, reason=str(error))
            continue
        if scope.change_ms and (not due_ms or scope.change_ms < due_ms):
            due_ms = scope.change_ms
        if member != (name in state.segments):
            changed.add(name)
            _change(turn, name, member=member)
    scope.event_id, scope.event_name, scope.event_ms, scope.properties = event
    state.segments_due_ms = due_ms
    if names is None:
        _leave_gone(turn)


def _change(turn: Turn, name: str, *, member: bool) -> None:
    state = turn.state
    if member:
        state.segments = {**state.segments, name: turn.now_ms}
    else:
        state.segments = {other: since for other, since in state.segments.items() if other != name}
    turn.scope.segments = state.segments
    turn.facts.append((name, member))
    turn.decide("segment_entered" if member else "segment_left", segment=name)


def _leave_gone(turn: Turn) -> None:
    """Segments that are no longer defined are left without a word to workflows: nothing can ask about them."""
    state = turn.state
    if any(name not in turn.catalog.segments for name in state.segments):
        state.segments = {name: since for name, since in state.segments.items() if name in turn.catalog.segments}
        turn.scope.segments = state.segments


def of_traits(turn: Turn, traits: Collection[str]) -> set[str]:
    """The segments that ask about any of these traits."""
    by_trait = turn.catalog.segment_traits
    names = set(by_trait.get("*", ())) if traits else set()
    for trait in traits:
        names.update(by_trait.get(trait, ()))
    return names

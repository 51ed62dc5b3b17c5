"""Which private members of Faust the group is built on: they are named here, and this fails when one of them is gone.

Invariant: what `engine.runtimes.kafka.group` reaches behind Faust's door is on this list, and nothing else is.
"""

import ast
import importlib
import inspect
from pathlib import Path

import pytest

from engine.runtimes.kafka import group

PRIVATE = {
    "faust.tables.recovery:Recovery": ("_generation_id", "_restart_recovery", "_resume_streams"),
    "faust.tables.manager:TableManager": ("_recovery", "_update_channels"),
    "faust.transport.drivers.aiokafka:Consumer": (
        "_add_gap",
        "_filter_tps_with_pending_acks",
        "_is_changelog_tp",
        "_new_offset",
        "_seek",
        "_thread",
        "_unacked_messages",
    ),
}
NAMED = {name for names in PRIVATE.values() for name in names}
OUR_OWN = "_done"
"""Offsets by partition in `CommittedConsumer`, and a method of the flow; Faust's consumer must not have it."""


def _has(cls: type, name: str) -> bool:
    """Whether a class, or one that it is made of, defines the member or sets it on itself."""
    if hasattr(cls, name):
        return True
    return any(f"self.{name} " in inspect.getsource(each) for each in cls.__mro__ if each is not object)


def _consumer_classes(place: str) -> type:
    module, _, name = place.partition(":")
    found: type = getattr(importlib.import_module(module), name)
    return found


@pytest.mark.parametrize(("place", "name"), [(place, name) for place, names in PRIVATE.items() for name in names])
def test_a_private_member_that_we_use_is_there(place: str, name: str) -> None:
    """Faust still has what we reach for; a release without it has to be looked at before it is pinned."""
    assert _has(_consumer_classes(place), name)


def test_a_member_that_is_gone_would_be_noticed() -> None:
    """The question can be answered with no; and what we call our own in a subclass of theirs is no name of theirs."""
    consumer = _consumer_classes("faust.transport.drivers.aiokafka:Consumer")
    assert not _has(consumer, "_no_such_member")
    assert not _has(consumer, OUR_OWN)


def _reached(source: str) -> set[str]:
    """Private names that a module overrides in a subclass of Faust's, or reads, without having made them itself."""
    tree = ast.parse(source)
    reached: set[str] = set()
    for cls in [node for node in tree.body if isinstance(node, ast.ClassDef)]:
        if cls.bases:
            reached |= {each.name for each in cls.body if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef)}
    made = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            made.add(node.attr)
        elif isinstance(node, ast.AnnAssign | ast.Assign):
            targets = [node.target] if isinstance(node, ast.AnnAssign) else node.targets
            made |= {each.id for each in targets if isinstance(each, ast.Name)}
    read = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load)}
    return {name for name in reached & NAMED | (read - made) if name.startswith("_") and not name.startswith("__")}


def test_every_private_member_that_we_use_is_named() -> None:
    """Nothing of Faust's is used behind its door that does not stand on the list."""
    reached: set[str] = set()
    for path in sorted(Path(next(iter(group.__path__))).glob("*.py")):
        source = path.read_text("utf-8")
        if "faust" in source:
            reached |= _reached(source)
    assert reached <= NAMED, sorted(reached - NAMED)
    assert NAMED - reached <= {"_generation_id", "_recovery"}, "set by us as well, and so not seen as theirs"

"""The table of channels: one row for each, read by everybody who has to know them."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from channels import registry
from engine.collector.pages.me_texts import ME_TEXTS
from engine.collector.pages.texts import TEXTS, word
from engine.core.channel import ADDRESS_TRAITS, CHANNELS, KINDS, ChannelKind, by_trait, template_channel

ROOT = Path(__file__).parents[2]
TABLE = ROOT / "engine/core/channel.py"
LISTS_MAX = 1
"""Channels that a list, a set or the keys of a dict may name by hand."""
PROVIDERS = {
    "engine/settings/phone.py": "which channels the account at Twilio serves, and the sender of each",
    "engine/settings/sections.py": "which channels a mail server serves",
}
"""What names channels because of one provider, not because they are channels."""


def listed(source: str) -> Iterator[tuple[int, list[str]]]:
    """The lists of channels that are written down in a module."""
    for node in ast.walk(ast.parse(source)):
        parts: list[Any] = []
        if isinstance(node, ast.List | ast.Set | ast.Tuple):
            parts = node.elts
        elif isinstance(node, ast.Dict):
            parts = [key for key in node.keys if key is not None]
        else:
            continue
        words = [part.value for part in parts if isinstance(part, ast.Constant) and isinstance(part.value, str)]
        # Verbs of steps, names of traits and of files are other words that some channels share.
        if len(words) == len(parts) and words and set(words) <= {*CHANNELS, "profile"}:
            yield node.lineno, words


def test_channels_are_listed_in_one_place() -> None:
    """A new channel is a row of the table, not a word in many lists."""
    modules = {str(path.relative_to(ROOT)): path for path in sorted((ROOT / "engine").rglob("*.py")) if path != TABLE}
    found = [
        f"{name}:{line} {words}"
        for name, path in modules.items()
        if name not in PROVIDERS and not name.startswith("engine/demo/")  # the shop of the demo chooses its channels
        for line, words in listed(path.read_text("utf-8"))
        if len(words) > LISTS_MAX
    ]
    assert found == []


def test_a_list_by_hand_is_noticed() -> None:
    """The rule above sees sets, tuples and the keys of tables."""
    source = "A = frozenset({'sms', 'voice'})\nB = {'print': 1, 'push': 2}\nC = ('a', 'sms')"
    assert sorted(words for _, words in listed(source)) == [["print", "push"], ["sms", "voice"]]


@pytest.mark.parametrize("kind", KINDS.values(), ids=list(KINDS))
def test_every_channel_has_a_name_in_every_language(kind: ChannelKind) -> None:
    """What a customer reads on their pages is never the word of the workflow language."""
    assert kind.labels.keys() == TEXTS.keys()
    assert [word(lang, kind.name) for lang in kind.labels] == list(kind.labels.values())


def test_no_text_of_a_page_hides_a_channels_name() -> None:
    """Names of channels and keys of texts share one table."""
    assert not {*CHANNELS} & ME_TEXTS["en"].keys()


def test_a_row_agrees_with_itself() -> None:
    """Whoever falls back, or shares consent, names a channel with the same address; shared traits are those of addresses."""
    for kind in KINDS.values():
        for other in (*kind.consent_of, *filter(None, [kind.falls_back_to])):
            assert KINDS[other].trait == kind.trait != ""
    assert {*ADDRESS_TRAITS.values()} == {"email", "phone"}
    assert by_trait("email") + by_trait("phone") == ("email", "newsletter", "sms", "whatsapp", "voice")
    assert template_channel("voice") == "sms"
    assert template_channel("pigeon") == "pigeon"


def test_every_channel_has_an_adapter_but_what_packages_bring() -> None:
    """The registry has a row for each channel that ships; the mailbox takes any of them."""
    ours = {kind.name for kind in KINDS.values() if kind.adapter != "of a package"}
    assert registry.BUILT_IN.keys() == ours | {"mailbox"}


def test_the_documents_name_them_all() -> None:
    """The table in the README, and what an import of consent takes."""
    table = re.search(r"\| channel \| by \|.*?\n\n", (ROOT / "README.md").read_text("utf-8"), re.DOTALL)
    assert table is not None
    first = [line.split("|")[1] for line in table[0].splitlines()[2:] if line]
    assert {*re.findall(r"`(\w+)`", " ".join(first))} == {*CHANNELS}
    (row,) = re.findall(
        r"^\| `channel` \| (.*) \|$", (ROOT / "docs/operators/consent.md").read_text("utf-8"), re.MULTILINE
    )
    assert re.findall(r"`(\w+)`", row) == list(ADDRESS_TRAITS)

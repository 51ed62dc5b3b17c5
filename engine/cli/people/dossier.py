"""Everything that is kept about one person, as data and as a page for people.

Invariant: the page shows what the data has, all of it, and nothing that somebody wrote can become markup.
"""

from __future__ import annotations

import contextlib
import html
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.cli.output import plain
from engine.dispatch.links.tokens import SignedLinks, TokenSigner
from engine.dispatch.templates.sample import ADDRESSES
from engine.errors import AnlassError

if TYPE_CHECKING:
    from engine.core.effect import Decision
    from engine.core.message import Message
    from engine.runtimes.base import MessageStatus, Reader

PAGE = 5_000
MESSAGES_MAX = 10_000
LINK = "a-link-made-for-this-message"
"""Stands where a link would: it reads the same as an address and as text."""

Content = Callable[["MessageStatus"], dict[str, Any]]
"""What a message said, as `content` of the export."""

SECTIONS: dict[str, tuple[str, str]] = {
    "profile": (
        "Profile",
        "What is known of the person now: traits, where consent stands, segments, counts of events, the workflows they are in.",
    ),
    "consents": (
        "Consent",
        "Every time consent was asked for, given, confirmed or withdrawn, with its proof. Nothing here is ever changed.",
    ),
    "suppression": (
        "Addresses that nothing is sent to",
        "After a refusal, a complaint or an objection. After an erasure only a keyed hash of them stays.",
    ),
    "messages": (
        "Messages",
        "Every message, what became of it and what it said: as the local mailbox has it, or made again from the template of now.",
    ),
    "tasks": ("Tasks", "Follow-ups about the person that somebody was asked to do, and what came of them."),
    "journal": ("Decisions", "What was decided about the person and why, oldest first."),
    "dead_letters": ("Input that could not be used", "As it came, with the reason."),
}
"""Key of the export → title and explanation, in their order."""


async def gather(reader: Reader, customer: str, *, content: Content | None = None) -> dict[str, Any] | None:
    """The export as JSON data; None when nothing is kept."""
    from engine.clock import SystemClock, to_rfc3339
    from engine.core.journey.task import gather as gather_tasks

    state = await reader.state(customer)
    journal = await _journal(reader, customer)
    messages = await reader.messages(customer=customer, limit=MESSAGES_MAX)
    letters = [each for each in await reader.dead_letters(limit=MESSAGES_MAX) if each.customer == customer]
    consents = await reader.consents(customer=customer)
    if state is None and not journal and not messages and not letters and not consents:
        return None
    profile = plain(state)
    if profile is not None:
        profile.pop("seen", None)  # hashes of event ids, for recognising repetitions
    return {
        "customer": customer,
        "exported_at": to_rfc3339(SystemClock().now_ms()),
        "about": {name: told for name, (_, told) in SECTIONS.items()},
        "profile": profile,
        "consents": [plain(record) for record in consents],
        "suppression": dict(state.suppressed) if state is not None else {},
        "messages": [{**plain(each), "content": content(each) if content else None} for each in messages],
        "tasks": [plain(task) for task in gather_tasks(journal).values()],
        "journal": [plain(decision) for _, decision in journal],
        "dead_letters": [{**plain(each), "body": each.body.decode("utf-8", "backslashreplace")} for each in letters],
    }


async def _journal(reader: Reader, customer: str) -> list[tuple[int, Decision]]:
    """All decisions about a customer with their numbers, oldest first."""
    from engine.runtimes.base import Query

    found: list[tuple[int, Decision]] = []
    after = 0
    while True:
        page = await reader.decisions(Query(customer=customer, after_seq=after, limit=PAGE, oldest_first=True))
        found += page
        if len(page) < PAGE:
            return found
        after = page[-1][0]


# ------------------------------------------------------------------------------------------------------------ content


class _NoLinks(SignedLinks):
    """In place of a message's links: their tokens would let whoever has the export act for the person."""

    def of(self, message: Message) -> dict[str, str]:
        return dict.fromkeys(ADDRESSES, LINK)


def content_of(root: Path) -> Content:
    """How to find what a message said: in the local mailbox, else by rendering it again with the project's templates."""
    from engine import bootstrap
    from engine.bootstrap.service import DeployedRenderer
    from engine.dispatch.sending.compose import Composer

    composer = None
    project = None
    with contextlib.suppress(AnlassError):  # a project in the middle of being edited still has its data exported
        project = bootstrap.open_project(root)
        composer = Composer(DeployedRenderer(project.templates), _NoLinks("", TokenSigner(bytes(32))))

    def content(status: MessageStatus) -> dict[str, Any]:
        message = status.message
        kept = _in_mailbox(project.var, message.id) if project is not None else None
        if kept is not None:
            return kept
        if composer is None:
            return {"source": "not kept, and the project's templates cannot be read now"}
        if not message.context:
            return {"source": f"not kept: what template {message.channel}/{message.template} was filled with is gone"}
        try:
            rendered = composer.content(message)
        except (AnlassError, ValueError, LookupError) as error:
            return {"source": f"not kept, and cannot be made again: {type(error).__name__}"}
        source = f"made again from template {message.channel}/{message.template} as it is now"
        return {"source": source, "subject": rendered.subject, "text": rendered.text}

    return content


def _in_mailbox(var: Path, message_id: str) -> dict[str, Any] | None:
    from engine import bootstrap

    with contextlib.closing(bootstrap.open_mailbox(var)) as mailbox:
        kept = mailbox.get(message_id)
    if kept is None:
        return None
    return {"source": "the local mailbox", "subject": kept.delivery.subject, "text": kept.delivery.text}


# --------------------------------------------------------------------------------------------------------------- page

_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; color: #1c1c1c; background: #fff; max-width: 60rem; margin: 2rem auto;
  padding: 0 1rem }
h1 { font-size: 1.6rem } h2 { font-size: 1.25rem; margin-top: 2.5rem; border-bottom: 2px solid #ddd } p.told { color: #555 }
article { border: 1px solid #ddd; border-radius: 6px; padding: .5rem 1rem; margin: .75rem 0; overflow-wrap: anywhere }
dl { display: grid; grid-template-columns: fit-content(11rem) minmax(0, 1fr); gap: .15rem 1rem; margin: 0 }
dt { color: #555 } dd { margin: 0; min-width: 0 }
dd dl { padding-left: .75rem; border-left: 2px solid #eee; font-size: .95em }
dd dd dl { grid-template-columns: minmax(0, 1fr) }
pre { white-space: pre-wrap; margin: 0; font: inherit }
ul { margin: 0; padding-left: 1.2rem }
@media (max-width: 40rem) { dl { grid-template-columns: 1fr } dt { margin-top: .4rem } }
"""


def page(found: Mapping[str, Any]) -> str:
    """The export as one page without scripts, links or anything from elsewhere."""
    customer = html.escape(found["customer"])
    told = f"As of {found['exported_at']}. Times are UTC. As data: anlass export without --html."
    parts = [
        "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'>",
        f"<title>What is kept about {customer}</title><style>{_STYLE}</style>",
        f"<h1>What is kept about {customer}</h1><p class=told>{html.escape(told)}</p>",
    ]
    for name, (title, told) in SECTIONS.items():
        value = found[name]
        count = f" ({len(value)})" if isinstance(value, list) else ""
        parts.append(f"<h2 id={name}>{title}{count}</h2><p class=told>{html.escape(told)}</p>")
        if not value:
            parts.append("<p>Nothing.</p>")
        elif isinstance(value, list):
            parts += [f"<article>{_shown(each)}</article>" for each in value]
        else:
            parts.append(f"<article>{_shown(value)}</article>")
    return "\n".join(parts) + "\n</html>\n"


def _shown(value: Any) -> str:
    """A value of the export as HTML; empty fields are left out, as they say nothing."""
    if isinstance(value, Mapping):
        rows = (
            f"<dt>{html.escape(str(name).replace('_', ' '))}</dt><dd>{_shown(each)}</dd>"
            for name, each in value.items()
            if each not in (None, "", [], {})
        )
        return f"<dl>{''.join(rows)}</dl>"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return "<ul>" + "".join(f"<li>{_shown(each)}</li>" for each in value) + "</ul>"
    text = value if isinstance(value, str) else json.dumps(value)
    return f"<pre>{html.escape(text)}</pre>" if "\n" in text else html.escape(text)

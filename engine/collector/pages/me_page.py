"""What the customer's pages have in common: the frame with its menu, the records that forms write, a masked address.

Invariant: pure but for what a visit says; what is personal is in the menu only for a browser that used an access link.
"""

from __future__ import annotations

from typing import Any

import msgspec
from aiohttp import web

from engine.collector.pages.page import page
from engine.collector.pages.visit import LANGUAGES, Visit
from engine.core.consent.may_send import address_of
from engine.core.customer import CustomerState
from engine.core.record import Event, Identify, Record
from engine.errors import BadRecord

_HIDDEN = "•••"


def me_page(visit: Visit, name: str, *, status: int = 200, root: str = "", **names: Any) -> web.Response:
    """A page of the customer's. `root`: the path of their choices, unless the visit is there; `is_open` shows the whole menu."""
    other = next(lang for lang in LANGUAGES if lang != visit.lang)
    query = f"?lang={visit.lang}" if visit.request.query.get("lang") else ""
    above = root or visit.path
    here = visit.request.path if not root and not visit.request.path.endswith("/link") else above
    answer = page(
        name, status=status, lang=visit.lang, texts=visit.texts, root=above, query=query, other_lang=other, here=here,
        **{"is_open": False, **names},
    )  # fmt: skip
    answer.headers["Referrer-Policy"] = "same-origin"  # with no-referrer a browser does not say where a form was
    return answer


def told(visit: Visit, key: str, *, is_open: bool = False, **names: str) -> web.Response:
    """A page that says one thing."""
    texts = visit.texts
    return me_page(
        visit, "told", is_open=is_open, title=texts[f"{key}_title"], text=texts[f"{key}_text"].format(**names)
    )


def locked(visit: Visit, state: CustomerState, *, root: str = "") -> web.Response:
    """In place of what is personal: a button that has a link sent to the address that is known."""
    return me_page(visit, "locked", status=403, root=root, masked=masked(address_of(state, "email")))


def masked(address: str) -> str:
    """The address for who knows it already: its first letter, that of its host, and the end."""
    name, at, host = address.rpartition("@")
    first, dot, rest = host.rpartition(".")
    if not at or not name or not dot or not first:
        return ""
    return f"{name[0]}{_HIDDEN}@{first[0]}{_HIDDEN}.{rest}"


def event(visit: Visit, name: str, properties: dict[str, Any], *, key: str = "") -> Event:
    """An event of this customer, now. Of two with the same `key` from one link one counts."""
    key = key or f"{name}:{visit.now_ms}"
    return Event(
        customer=visit.link.customer, at_ms=visit.now_ms, id=f"me:{visit.link.message}:{key}", name=name,
        time_ms=visit.now_ms, properties=properties,
    )  # fmt: skip


def identify(visit: Visit, traits: dict[str, Any]) -> Identify:
    """Traits of this customer, now."""
    key = f"me:{visit.link.message}:details:{visit.now_ms}"
    return Identify(customer=visit.link.customer, at_ms=visit.now_ms, id=key, time_ms=visit.now_ms, traits=traits)


def apart(record: Any, number: int) -> Record:
    """Several changes of one moment are several records."""
    changed: Record = msgspec.structs.replace(record, id=f"{record.id}:{number}")
    return changed


def one(form: dict[str, list[str]], name: str) -> str:
    """The field's only value, without blanks around it. Raises BadRecord."""
    values = form.get(name, [])
    if len(values) > 1:
        raise BadRecord("invalid_form", f"{name} is there twice.")
    return values[0].strip() if values else ""

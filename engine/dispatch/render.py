"""A template that is ready to render, and what rendering returns.

Invariant: `Template.render` returns a whole `Rendered` or raises `TemplateError`; nothing is ever half-rendered.
"""

from __future__ import annotations

import msgspec


class Rendered(msgspec.Struct, frozen=True):
    """One message's content. Parts a channel has no use for are empty: an SMS has only `text`.

    `subject`, `preheader`, `from_` and `reply_to` are single lines of plain text; `html` is a whole document.
    """

    subject: str
    preheader: str
    from_: str
    reply_to: str
    html: str
    text: str

"""HTML pages out of `pages/`: no script, nothing loaded from elsewhere, readable on a telephone.

Invariant: everything that is put into a page is escaped, and the browser is told to run and load nothing.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jinja2
from aiohttp import web

_POLICY = "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
_FRAME_POLICY = "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data: https:; font-src data:"
_HEADERS = {
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Robots-Tag": "noindex",
}
_templates = jinja2.Environment(
    loader=jinja2.FileSystemLoader(Path(__file__).parent / "html"),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


def page(name: str, *, status: int = 200, frames: bool = False, **names: Any) -> web.Response:
    """The page `pages/NAME.html`. With `frames` it may show pages of our own inside."""
    policy = _POLICY + ("; frame-src 'self'" if frames else "")
    text = _templates.get_template(f"{name}.html").render(names)
    return web.Response(
        status=status, text=text, content_type="text/html", headers={**_HEADERS, "Content-Security-Policy": policy}
    )


def foreign(html: str) -> web.Response:
    """HTML that is not ours (a message), shut in: it can run nothing, and knows nothing of this site."""
    return web.Response(
        text=html, content_type="text/html", headers={**_HEADERS, "Content-Security-Policy": _FRAME_POLICY}
    )

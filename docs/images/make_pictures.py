# ruff: noqa: INP001 - a script beside the pictures it makes, not a package
"""Makes the pictures of the README again: three shipped mails, rendered as they are sent, and photographed by Chromium.

    .venv/bin/python docs/images/make_pictures.py

Needs a `chromium` (or `google-chrome`) on the path. Invariant: what is shown is what `engine.dispatch` renders from the
shipped templates; only the customer and the order are made up.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from engine.dispatch.templates.template_set import TemplateSet

HERE = Path(__file__).resolve().parent
PROJECT = HERE.parent.parent
WIDTH = 600
BYTES_MAX = 150_000
SECONDS_MAX = 60

_THROW = {"name": "Wool throw, salt and pepper", "price": 89.0, "quantity": 1, "variant": "130 × 200 cm"}
_MUGS = {"name": "Stoneware mugs, set of two", "price": 34.0, "quantity": 2}
_LINKS = {
    "unsubscribe_url": "https://mail.shop.example/u/…",
    "preferences_url": "https://mail.shop.example/me/…",
    "view_url": "https://mail.shop.example/view/…",
}
CONTEXTS: dict[str, tuple[str, dict[str, Any]]] = {
    "cart-reminder": (
        "en",
        {"customer": {"first_name": "Alice"}, "event": {"products": [_THROW, _MUGS], "cart_url": "https://shop.example/cart"}},
    ),
    "order-confirmation": (
        "en",
        {
            "customer": {"first_name": "Alice"},
            "event": {
                "order_id": "2026-1047",
                "time": "2026-03-27T09:12:00Z",
                "products": [_THROW, _MUGS],
                "shipping": 4.9,
                "total": 161.9,
                "tax": 25.85,
                "shipping_address": {
                    "name": "Alice Carter", "street": "14 Mill Lane", "postal_code": "BS1 4ST", "city": "Bristol",
                },
            },
        },
    ),
    "birthday": ("de", {"customer": {"first_name": "Björn"}, "data": {"percent": "15"}}),
}  # fmt: skip
"""Template → locale and what it is rendered with."""


def rendered() -> dict[str, str]:
    """The HTML of each mail, by template."""
    templates = TemplateSet.load(PROJECT / "templates", zone="Europe/Berlin")
    pages = {}
    for name, (locale, given) in CONTEXTS.items():
        context = {"now": "2026-03-27T10:12:00Z", "event": {}, "enrollment": {}, "data": {}, **_LINKS, **given}
        pages[name] = templates.find("email", name, locale=locale).render(context).html
    return pages


def main() -> int:
    """Writes the pictures beside this script; 1 when there is no browser or a picture is too large."""
    browser = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if browser is None:
        sys.stderr.write("No chromium was found; install one and try again.\n")
        return 1
    with tempfile.TemporaryDirectory() as folder:
        for name, html in rendered().items():
            page = Path(folder) / f"{name}.html"
            page.write_text(html, "utf-8")
            target = HERE / f"mail-{name}.png"
            _photograph(browser, page, target)
            size = target.stat().st_size
            sys.stdout.write(f"{target.name}: {size:,} bytes\n")
            if size > BYTES_MAX:
                sys.stderr.write(f"{target.name} is larger than {BYTES_MAX:,} bytes.\n")
                return 1
    return 0


def _photograph(browser: str, page: Path, target: Path) -> None:
    """The whole page at its own height: asked for first, with a script of our own in a copy of the page."""
    asking = page.with_suffix(".asking.html")
    script = "<script>onload=()=>{document.title='H'+Math.ceil(document.body.getBoundingClientRect().height)}</script>"
    asking.write_text(page.read_text("utf-8").replace("</body>", f"{script}</body>"), "utf-8")
    dom = _run(browser, "--dump-dom", asking)
    found = re.search(r"<title>H(\d+)</title>", dom)
    height = int(found[1]) if found else 1_000
    _run(browser, f"--screenshot={target}", page, height=height)


def _run(browser: str, action: str, page: Path, *, height: int = 1_000) -> str:
    command = [
        browser, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--disable-background-networking",
        "--host-resolver-rules=MAP * ~NOTFOUND", f"--window-size={WIDTH},{height}", action, page.as_uri(),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS_MAX, check=True)  # noqa: S603 - the browser found above
    return done.stdout


if __name__ == "__main__":
    sys.exit(main())

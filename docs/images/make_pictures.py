# ruff: noqa: INP001 - a script beside the pictures it makes, not a package
"""Makes the pictures of the README and the guides again: three shipped mails, rendered as they are sent, and the product at a
glance (a shipped workflow, what its tests print, the mail), photographed by Chromium.

    .venv/bin/python docs/images/make_pictures.py

Needs a `chromium` (or `google-chrome`) on the path. Invariant: what is shown is what `engine.dispatch` renders from the
shipped templates, and what `anlass test` prints; only the customer and the order are made up.
"""

from __future__ import annotations

import base64
import html as escaping
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
GLANCE = "at-a-glance"
GLANCE_WIDTH = 1_240
GLANCE_BYTES_MAX = 300_000
STEPS_SHOWN = "    id: reminder\n"
"""The last line of the workflow that is shown; the rest does not fit beside the mail."""
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


_GLANCE = """<!doctype html><meta charset="utf-8"><style>
body {{ margin: 0; padding: 28px; background: #eef1f5; display: grid; grid-template-columns: 740px 1fr; gap: 24px;
       align-items: start; font: 15px/1.5 system-ui, sans-serif; }}
section {{ background: #10151d; color: #dce3ec; border-radius: 10px; margin-bottom: 24px; overflow: hidden; }}
h2 {{ margin: 0; padding: 8px 18px; background: #1c2430; color: #93a1b3; font: 600 13px/1.6 system-ui, sans-serif; }}
pre {{ margin: 0; padding: 14px 18px; font: 13px/1.55 "DejaVu Sans Mono", monospace; white-space: pre-wrap; }}
b {{ color: #8fd1a8; font-weight: 400; }} i {{ color: #7fb3f0; font-style: normal; }}
figure {{ margin: 0; background: #fff; border-radius: 10px; overflow: hidden; border: 1px solid #d5dbe3; }}
figure img {{ display: block; width: 100%; }}
</style><body><div><section><h2>workflows/cart-recovery.yaml</h2><pre>{workflow}</pre></section>
<section><h2>in a terminal</h2><pre>{terminal}</pre></section></div>
<figure><img src="data:image/png;base64,{mail}"></figure></body>"""


def at_a_glance() -> str:
    """The page of the picture: workflow, tests, mail."""
    workflow, _, _ = (PROJECT / "workflows" / "cart-recovery.yaml").read_text("utf-8").partition(STEPS_SHOWN)
    shown = re.sub(
        r"^(\s*(?:- )?)([a-z_]+):",
        r"\1<i>\2</i>:",
        escaping.escape(workflow + STEPS_SHOWN, quote=False),
        flags=re.MULTILINE,
    )
    lines = []
    for command in ("check", "test"):
        done = subprocess.run(  # noqa: S603 - our own command
            [sys.executable, "-m", "engine.cli", command, str(PROJECT)], capture_output=True, text=True, check=True
        )
        lines.append(f"<b>$ anlass {command}</b>\n{escaping.escape(done.stdout.strip())}")
    mail = base64.b64encode((HERE / "mail-cart-reminder.png").read_bytes()).decode()
    return _GLANCE.format(workflow=f"{shown}  …", terminal="\n".join(lines), mail=mail)


def main() -> int:
    """Writes the pictures beside this script; 1 when there is no browser or a picture is too large."""
    browser = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if browser is None:
        sys.stderr.write("No chromium was found; install one and try again.\n")
        return 1
    with tempfile.TemporaryDirectory() as folder:
        for name, html in rendered().items():
            if not _made(browser, Path(folder), f"mail-{name}", html=html):
                return 1
        return 0 if _made(browser, Path(folder), GLANCE, html=at_a_glance()) else 1


def _made(browser: str, folder: Path, name: str, *, html: str) -> bool:
    page, target = folder / f"{name}.html", HERE / f"{name}.png"
    page.write_text(html, "utf-8")
    width, bytes_max = (GLANCE_WIDTH, GLANCE_BYTES_MAX) if name == GLANCE else (WIDTH, BYTES_MAX)
    _photograph(browser, page, target, width=width)
    size = target.stat().st_size
    sys.stdout.write(f"{target.name}: {size:,} bytes\n")
    if size > bytes_max:
        sys.stderr.write(f"{target.name} is larger than {bytes_max:,} bytes.\n")
    return size <= bytes_max


def _photograph(browser: str, page: Path, target: Path, *, width: int) -> None:
    """The whole page at its own height: asked for first, with a script of our own in a copy of the page."""
    asking = page.with_suffix(".asking.html")
    script = "<script>onload=()=>{document.title='H'+Math.ceil(document.body.getBoundingClientRect().height)}</script>"
    asking.write_text(page.read_text("utf-8").replace("</body>", f"{script}</body>"), "utf-8")
    dom = _run(browser, "--dump-dom", asking, size=(width, 1_000))
    found = re.search(r"<title>H(\d+)</title>", dom)
    height = int(found[1]) if found else 1_000
    _run(browser, f"--screenshot={target}", page, size=(width, height))


def _run(browser: str, action: str, page: Path, *, size: tuple[int, int]) -> str:
    command = [
        browser, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--disable-background-networking",
        "--host-resolver-rules=MAP * ~NOTFOUND", f"--window-size={size[0]},{size[1]}", action, page.as_uri(),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS_MAX, check=True)  # noqa: S603 - the browser found above
    return done.stdout


if __name__ == "__main__":
    sys.exit(main())

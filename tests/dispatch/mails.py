"""One mail from a template in a folder of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from engine.dispatch.templates.render import Rendered
from engine.dispatch.templates.template_set import TemplateSet


def rendered(folder: Path, body: str, **context: Any) -> Rendered:
    """What the body of an HTML template becomes."""
    (folder / "email").mkdir(exist_ok=True)
    (folder / "email" / "a.html").write_text(f"---\nsubject: x\n---\n{body}", encoding="utf-8")
    templates = TemplateSet.load(folder)
    assert templates.check() == []
    template = templates.find("email", "a")
    made = template.render(context)
    assert made == template.render_fully(context)
    return made

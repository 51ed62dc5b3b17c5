# ruff: noqa: INP001 - a hook of mkdocs beside the pages, not a package
"""A hook of mkdocs: what the guides link to outside of docs/ has no page on the site, so it is named instead of linked to.

Invariant: such a link leads to a file or folder of the repository, or the build fails; on the site none is left.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from mkdocs.exceptions import PluginError

_LINK = re.compile(r"(?<!!)\[(?P<text>[^\]\n]+)\]\((?P<target>[^)\s#:]+)(?P<anchor>#[\w-]*)?\)")
_FENCE = re.compile(r"^(```.*?^```)$", re.MULTILINE | re.DOTALL)


def on_page_markdown(markdown: str, *, page: Any, config: Any, files: Any) -> str:
    """The page's text, without links that lead out of docs/ or to something that is no page."""
    docs = Path(config.docs_dir)
    here = (docs / page.file.src_uri).parent
    parts = _FENCE.split(markdown)
    return "".join(part if part.startswith("```") else _named(part, here, docs=docs, pages=files) for part in parts)


def _named(text: str, here: Path, *, docs: Path, pages: Any) -> str:
    def name(match: re.Match[str]) -> str:
        path = Path(os.path.normpath(here / match["target"]))
        if path.is_relative_to(docs) and pages.get_file_from_path(path.relative_to(docs).as_posix()) is not None:
            return match[0]
        if not path.exists():
            raise PluginError(f"{here.name} links to {match['target']}, which is not there")
        if path.is_relative_to(docs) and (path / "index.md").is_file():
            return f"[{match['text']}]({match['target'].rstrip('/')}/index.md)"
        place = path.relative_to(docs.parent).as_posix()
        return match["text"] if place in match["text"] else f"{match['text']} (`{place}`)"

    return _LINK.sub(name, text)

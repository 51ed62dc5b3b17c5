"""The section `[print]`: where letters are collected for a print shop.

Invariant: without a folder no file is written; letters then go to the local mailbox.
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from engine.settings.section import ChannelSection


class PrintSection(ChannelSection):
    """Relative paths count from the project."""

    SERVES: ClassVar[tuple[str, ...]] = ("print",)

    folder: Path | None = None
    pdf: bool = False
    pdf_font: Path | None = None

    @property
    def configured(self) -> bool:
        """Whether there is a folder."""
        return self.folder is not None

    def adapter(self, channel: str) -> dict[str, object]:
        """As of every channel; paths as text."""
        section = super().adapter(channel)
        return {name: str(value) if isinstance(value, Path) else value for name, value in section.items()}

"""Reads an adapter's section of the settings.

Invariant: what cannot be used is one sentence that names the section and, as msgspec says it, the setting.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

import msgspec

S = TypeVar("S", bound=msgspec.Struct)


def read_section(settings: Mapping[str, object], kind: type[S], *, section: str) -> S:
    """The section as its struct. Raises ValueError that says which setting is wrong and how."""
    try:
        return msgspec.convert(dict(settings), kind)
    except msgspec.ValidationError as error:
        raise ValueError(f"The [{section}] settings cannot be used: {error}.") from None

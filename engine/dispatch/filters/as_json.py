"""The filter `tojson`: any value as JSON, for templates that are JSON themselves.

Invariant: bounded in work and length like every filter; what it gives is whole JSON, or the rendering fails.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from engine.dispatch.filters.values import CHARACTERS_PER_UNIT, Budget, Missing, RenderFailure, kind_of


def tojson(budget: Budget, value: Any) -> str:
    """The value as JSON text. Raises RenderFailure for what JSON does not know (NaN, a date object)."""
    if isinstance(value, Missing):
        value.fail()
    try:
        budget.charge(1 + _size(value))
        return budget.text(json.dumps(value, ensure_ascii=False, allow_nan=False))
    except (TypeError, ValueError, RecursionError):
        raise RenderFailure(f"{kind_of(value)} cannot be written as JSON") from None


def _size(value: Any) -> int:
    """About how much work it is to write the value down."""
    if isinstance(value, str):
        return len(value) // CHARACTERS_PER_UNIT
    if isinstance(value, Mapping):
        return sum(1 + _size(each) for each in value.values())
    return sum(1 + _size(each) for each in value) if isinstance(value, list | tuple) else 1

"""What operators ask, of the SQLite file. Invariant: reads only."""

import json
import sqlite3
from collections.abc import Callable
from typing import Any

import msgspec

from engine.clock import Clock
from engine.core.effect import Decision
from engine.core.journey.task import KINDS
from engine.runtimes.consents import KeyedHash
from engine.runtimes.embedded.statements import SQL
from engine.runtimes.embedded.store import translated
from engine.runtimes.sql.reader import Row, StoreReader

_TASKS = frozenset(KINDS.values())
_decode_decision = msgspec.msgpack.Decoder(Decision).decode


class EmbeddedReader(StoreReader):
    """The Reader port over a connection (`connection()` gives it, open)."""

    def __init__(self, connection: Callable[[], sqlite3.Connection], *, clock: Clock, keyed_hash: KeyedHash) -> None:
        super().__init__(clock)
        self._connection = connection
        self._hash = keyed_hash

    async def _rows(self, name: str, /, **values: Any) -> list[Row]:
        given = {key: json.dumps(value) if isinstance(value, list) else value for key, value in values.items()}
        with translated():
            return self._connection().execute(SQL[name], given).fetchall()

    async def _keyed_hash(self) -> KeyedHash:
        return self._hash

    def _by_kind(self, kind: str) -> str:
        return "task" if kind in _TASKS else "all"

    def _decision(self, row: Row) -> Decision:
        return _decode_decision(row[1])

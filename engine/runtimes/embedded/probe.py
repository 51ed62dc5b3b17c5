"""Whether the store would take a record now: by writing something as large as one.

Invariant: it says what a write said that is at most `SECONDS` old, so that whoever asks often costs little.
"""

from engine.errors import StorageError
from engine.runtimes.embedded.statements import SQL
from engine.runtimes.embedded.store import Store

SECONDS = 1.0


class Probe:
    """Writes the same row again and again. `store` may be closed meanwhile."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._asked_at = float("-inf")
        self._refused = ""

    def why_not(self, monotonic: float) -> str:
        """Why a write fails now; "" when it does not."""
        if monotonic - self._asked_at >= SECONDS:
            try:
                with self._store.transaction() as connection:
                    connection.execute(SQL["probe_put"])
                self._refused = ""
            except StorageError as error:
                self._refused = str(error)
            self._asked_at = monotonic
        return self._refused

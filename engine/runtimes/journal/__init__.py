"""What happened, in a database that can be asked: journal, ledger, customers, dead letters, for the console and for reports.

Invariant: the database is a copy. What it holds was read from Kafka's topics, exactly once, and can be read again.
"""

from engine.runtimes.journal.database import Database, Unstorable
from engine.runtimes.journal.projection import Displaced, Projection
from engine.runtimes.journal.reader import DatabaseReader

__all__ = ["Database", "DatabaseReader", "Displaced", "Projection", "Unstorable"]

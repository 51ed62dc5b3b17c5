"""HTTP intake: Segment's API, CloudEvents, customers' links, the local mailbox and what an operator's monitoring asks.

Invariant: a 200 is given only after the records are durable; whatever is refused is refused in JSON with `code` and
`message`, and never with a traceback.
"""

from engine.collector.app import Parts, build_collector
from engine.collector.parse import parse_line

__all__ = ["Parts", "build_collector", "parse_line"]

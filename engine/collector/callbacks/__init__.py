"""What providers tell by HTTP, and what becomes of a report about a message. Invariant: a report is counted once."""

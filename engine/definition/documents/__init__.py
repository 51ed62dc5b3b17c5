"""The shapes of the documents, as written. Invariant: one model per mapping; nothing is decided here."""

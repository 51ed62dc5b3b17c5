-- What a message is of: beside its step and its template the broadcast and the variant of its subject. Rows of earlier versions are
-- filled in from the message that they keep, in the same transaction (engine/runtimes/journal/filling.py).
ALTER TABLE ledger ADD COLUMN issue TEXT NOT NULL DEFAULT '';
ALTER TABLE ledger ADD COLUMN variant TEXT NOT NULL DEFAULT '';

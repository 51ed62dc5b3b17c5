-- Rows that cannot be read: `kind` is state, log or message, `key` the customer, the position or the message. Their bytes are dead
-- letters with the origin kind:key; of state and log rows the customer waits.
CREATE TABLE set_aside (
    kind TEXT NOT NULL,
    key TEXT NOT NULL,
    customer TEXT NOT NULL,
    reason TEXT NOT NULL,
    at_ms INTEGER NOT NULL,
    PRIMARY KEY (kind, key)
) WITHOUT ROWID;

-- Up to which position the log was pruned: what is before cannot be replayed. A log that begins later was pruned until there.
INSERT INTO progress (name, value) SELECT 'pruned', coalesce(min(seq), 1) - 1 FROM log;

-- The chain over the consent ledger (engine/runtimes/consent_chain.py). `salt` goes with an erasure; `seal`, `hidden`, `prev` and
-- `hash` stay. Rows of earlier versions are filled in and chained at the first start ('consents' in `progress` says that it is done);
-- where the chain ends stands in `consent_head`, and what is left of rows whose time is over in `consent_gone`.
ALTER TABLE consents ADD COLUMN salt TEXT NOT NULL DEFAULT '';
ALTER TABLE consents ADD COLUMN seal TEXT NOT NULL DEFAULT '';
ALTER TABLE consents ADD COLUMN hidden TEXT NOT NULL DEFAULT '';
ALTER TABLE consents ADD COLUMN prev TEXT NOT NULL DEFAULT '';
ALTER TABLE consents ADD COLUMN hash TEXT NOT NULL DEFAULT '';

CREATE TABLE consent_head (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    number INTEGER NOT NULL,
    hash TEXT NOT NULL
);

CREATE TABLE consent_gone (
    number INTEGER PRIMARY KEY,
    erased_ms INTEGER NOT NULL,
    prev TEXT NOT NULL,
    hash TEXT NOT NULL
);

DROP TRIGGER consents_keep_changed;

CREATE TRIGGER consents_keep_changed BEFORE UPDATE ON consents
WHEN (NEW.number, NEW.log_seq, NEW.purpose, NEW.channel, NEW.action, NEW.basis, NEW.source)
        IS NOT (OLD.number, OLD.log_seq, OLD.purpose, OLD.channel, OLD.action, OLD.basis, OLD.source)
    OR (NEW.at_ms, NEW.recorded_ms, NEW.requested_ms) IS NOT (OLD.at_ms, OLD.recorded_ms, OLD.requested_ms)
    OR (OLD.hash <> '' AND (NEW.seal, NEW.hidden, NEW.prev, NEW.hash) IS NOT (OLD.seal, OLD.hidden, OLD.prev, OLD.hash))
    OR ((OLD.erased_ms <> 0 OR NEW.erased_ms = 0) AND (OLD.hash <> '' OR NEW.hash = ''
        OR (NEW.record, NEW.customer, NEW.address, NEW.proof, NEW.erased_ms)
            IS NOT (OLD.record, OLD.customer, OLD.address, OLD.proof, OLD.erased_ms)))
BEGIN
    SELECT RAISE(ABORT, 'the consent ledger is only added to');
END;

CREATE TRIGGER consents_keep_gone_changed BEFORE UPDATE ON consent_gone
BEGIN
    SELECT RAISE(ABORT, 'the consent ledger is only added to');
END;

CREATE TRIGGER consents_keep_gone BEFORE DELETE ON consent_gone
BEGIN
    SELECT RAISE(ABORT, 'the consent ledger is only added to');
END;

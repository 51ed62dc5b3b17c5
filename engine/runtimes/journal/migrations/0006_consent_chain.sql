-- The chain over the consent ledger (engine/runtimes/consent_chain.py). `salt` goes with an erasure; `seal`, `hidden`, `prev` and
-- `hash` stay. Where the chain ends stands in `consent_head`, and what is left of rows whose time is over in `consent_gone`.
ALTER TABLE consents ADD COLUMN salt TEXT NOT NULL DEFAULT '';
ALTER TABLE consents ADD COLUMN seal TEXT NOT NULL DEFAULT '';
ALTER TABLE consents ADD COLUMN hidden TEXT NOT NULL DEFAULT '';
ALTER TABLE consents ADD COLUMN prev TEXT NOT NULL DEFAULT '';
ALTER TABLE consents ADD COLUMN hash TEXT NOT NULL DEFAULT '';

CREATE TABLE consent_head (
    one BIGINT NOT NULL PRIMARY KEY,
    number BIGINT NOT NULL,
    hash TEXT NOT NULL
);

CREATE TABLE consent_gone (
    number BIGINT NOT NULL PRIMARY KEY,
    erased_ms BIGINT NOT NULL,
    prev TEXT NOT NULL,
    hash TEXT NOT NULL
);

@sqlite DROP TRIGGER consents_keep_changed;

@postgresql DROP TRIGGER consents_keep_changed ON consents;

@sqlite CREATE TRIGGER consents_keep_changed BEFORE UPDATE ON consents
WHEN (NEW.number, NEW.partition, NEW.log_offset, NEW.purpose, NEW.channel, NEW.action, NEW.basis, NEW.source)
        IS NOT (OLD.number, OLD.partition, OLD.log_offset, OLD.purpose, OLD.channel, OLD.action, OLD.basis, OLD.source)
    OR (NEW.at_ms, NEW.recorded_ms, NEW.requested_ms) IS NOT (OLD.at_ms, OLD.recorded_ms, OLD.requested_ms)
    OR (OLD.hash <> '' AND (NEW.seal, NEW.hidden, NEW.prev, NEW.hash) IS NOT (OLD.seal, OLD.hidden, OLD.prev, OLD.hash))
    OR ((OLD.erased_ms <> 0 OR NEW.erased_ms = 0) AND (OLD.hash <> '' OR NEW.hash = ''
        OR (NEW.record, NEW.customer, NEW.address, NEW.proof, NEW.erased_ms)
            IS NOT (OLD.record, OLD.customer, OLD.address, OLD.proof, OLD.erased_ms)))
BEGIN SELECT RAISE(ABORT, 'the consent ledger is only added to'); END;

@postgresql CREATE TRIGGER consents_keep_changed BEFORE UPDATE ON consents FOR EACH ROW
WHEN ((NEW.number, NEW.partition, NEW.log_offset, NEW.purpose, NEW.channel, NEW.action, NEW.basis, NEW.source)
        IS DISTINCT FROM (OLD.number, OLD.partition, OLD.log_offset, OLD.purpose, OLD.channel, OLD.action, OLD.basis, OLD.source)
    OR (NEW.at_ms, NEW.recorded_ms, NEW.requested_ms) IS DISTINCT FROM (OLD.at_ms, OLD.recorded_ms, OLD.requested_ms)
    OR (OLD.hash <> '' AND (NEW.seal, NEW.hidden, NEW.prev, NEW.hash) IS DISTINCT FROM (OLD.seal, OLD.hidden, OLD.prev, OLD.hash))
    OR ((OLD.erased_ms <> 0 OR NEW.erased_ms = 0) AND (OLD.hash <> '' OR NEW.hash = ''
        OR (NEW.record, NEW.customer, NEW.address, NEW.proof, NEW.erased_ms)
            IS DISTINCT FROM (OLD.record, OLD.customer, OLD.address, OLD.proof, OLD.erased_ms))))
EXECUTE FUNCTION consents_keep();

@sqlite CREATE TRIGGER consents_keep_gone_changed BEFORE UPDATE ON consent_gone
BEGIN SELECT RAISE(ABORT, 'the consent ledger is only added to'); END;

@sqlite CREATE TRIGGER consents_keep_gone BEFORE DELETE ON consent_gone
BEGIN SELECT RAISE(ABORT, 'the consent ledger is only added to'); END;

@postgresql CREATE TRIGGER consents_keep_gone BEFORE UPDATE OR DELETE ON consent_gone FOR EACH ROW
EXECUTE FUNCTION consents_keep();

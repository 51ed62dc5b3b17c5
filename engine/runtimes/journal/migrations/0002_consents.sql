-- The consent ledger: one row for each request, grant, confirmation and withdrawal. It outlives the journal. `proof` is JSON;
-- `erased_ms` is when the customer was erased: from then on `customer` is an alias and `address` a keyed hash.
CREATE TABLE consents (
    number BIGINT NOT NULL PRIMARY KEY,
    partition BIGINT NOT NULL,
    log_offset BIGINT NOT NULL,
    record TEXT NOT NULL UNIQUE,
    customer TEXT NOT NULL,
    purpose TEXT NOT NULL,
    channel TEXT NOT NULL,
    action TEXT NOT NULL,
    basis TEXT NOT NULL,
    address TEXT NOT NULL,
    source TEXT NOT NULL,
    at_ms BIGINT NOT NULL,
    recorded_ms BIGINT NOT NULL,
    requested_ms BIGINT NOT NULL,
    proof TEXT NOT NULL,
    erased_ms BIGINT NOT NULL
);

CREATE INDEX consents_customer ON consents (customer);
CREATE INDEX consents_address ON consents (address);
CREATE INDEX consents_erased ON consents (erased_ms) WHERE erased_ms > 0;

INSERT INTO serials (name, value) VALUES ('consents', 0);

@sqlite CREATE TRIGGER consents_keep_changed BEFORE UPDATE ON consents
WHEN OLD.erased_ms <> 0 OR NEW.erased_ms = 0
    OR (NEW.number, NEW.partition, NEW.log_offset, NEW.purpose, NEW.channel, NEW.action, NEW.basis, NEW.source)
        IS NOT (OLD.number, OLD.partition, OLD.log_offset, OLD.purpose, OLD.channel, OLD.action, OLD.basis, OLD.source)
    OR (NEW.at_ms, NEW.recorded_ms, NEW.requested_ms) IS NOT (OLD.at_ms, OLD.recorded_ms, OLD.requested_ms)
BEGIN SELECT RAISE(ABORT, 'the consent ledger is only added to'); END;

@sqlite CREATE TRIGGER consents_keep_removed BEFORE DELETE ON consents WHEN OLD.erased_ms = 0
BEGIN SELECT RAISE(ABORT, 'the consent ledger is only added to'); END;

@postgresql CREATE FUNCTION consents_keep() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN RAISE EXCEPTION 'the consent ledger is only added to'; END $$;

@postgresql CREATE TRIGGER consents_keep_changed BEFORE UPDATE ON consents FOR EACH ROW
WHEN (OLD.erased_ms <> 0 OR NEW.erased_ms = 0
    OR (NEW.number, NEW.partition, NEW.log_offset, NEW.purpose, NEW.channel, NEW.action, NEW.basis, NEW.source)
        IS DISTINCT FROM (OLD.number, OLD.partition, OLD.log_offset, OLD.purpose, OLD.channel, OLD.action, OLD.basis, OLD.source)
    OR (NEW.at_ms, NEW.recorded_ms, NEW.requested_ms) IS DISTINCT FROM (OLD.at_ms, OLD.recorded_ms, OLD.requested_ms))
EXECUTE FUNCTION consents_keep();

@postgresql CREATE TRIGGER consents_keep_removed BEFORE DELETE ON consents FOR EACH ROW WHEN (OLD.erased_ms = 0)
EXECUTE FUNCTION consents_keep();

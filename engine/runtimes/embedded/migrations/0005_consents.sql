-- The consent ledger: one row for each request, grant, confirmation and withdrawal. It outlives the journal. `proof` is JSON;
-- `erased_ms` is when the customer was erased: from then on `customer` is an alias and `address` a keyed hash.
CREATE TABLE consents (
    number INTEGER PRIMARY KEY,
    log_seq INTEGER NOT NULL,
    record TEXT NOT NULL UNIQUE,
    customer TEXT NOT NULL,
    purpose TEXT NOT NULL,
    channel TEXT NOT NULL,
    action TEXT NOT NULL,
    basis TEXT NOT NULL,
    address TEXT NOT NULL,
    source TEXT NOT NULL,
    at_ms INTEGER NOT NULL,
    recorded_ms INTEGER NOT NULL,
    requested_ms INTEGER NOT NULL,
    proof TEXT NOT NULL,
    erased_ms INTEGER NOT NULL DEFAULT 0
);

CREATE INDEX consents_customer ON consents (customer);
CREATE INDEX consents_address ON consents (address);
CREATE INDEX consents_erased ON consents (erased_ms) WHERE erased_ms > 0;

CREATE TRIGGER consents_keep_changed BEFORE UPDATE ON consents
WHEN OLD.erased_ms <> 0 OR NEW.erased_ms = 0
    OR (NEW.number, NEW.log_seq, NEW.purpose, NEW.channel, NEW.action, NEW.basis, NEW.source)
        IS NOT (OLD.number, OLD.log_seq, OLD.purpose, OLD.channel, OLD.action, OLD.basis, OLD.source)
    OR (NEW.at_ms, NEW.recorded_ms, NEW.requested_ms) IS NOT (OLD.at_ms, OLD.recorded_ms, OLD.requested_ms)
BEGIN
    SELECT RAISE(ABORT, 'the consent ledger is only added to');
END;

CREATE TRIGGER consents_keep_removed BEFORE DELETE ON consents WHEN OLD.erased_ms = 0
BEGIN
    SELECT RAISE(ABORT, 'the consent ledger is only added to');
END;

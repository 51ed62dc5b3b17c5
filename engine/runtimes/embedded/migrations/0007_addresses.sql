-- Who was written to at an address, and which message a provider speaks of. Addresses as `same_address` writes them; rows from
-- before have none: nothing answered to them.
ALTER TABLE ledger ADD COLUMN address TEXT NOT NULL DEFAULT '';

CREATE INDEX ledger_address ON ledger (address) WHERE address <> '';
CREATE INDEX ledger_provider ON ledger (provider_id) WHERE provider_id <> '';

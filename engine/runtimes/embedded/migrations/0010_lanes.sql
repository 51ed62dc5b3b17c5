-- Transactional messages leave first: `bulk` 0. Of what waited before this it is not known, and it keeps its order.
ALTER TABLE ledger ADD COLUMN bulk INTEGER NOT NULL DEFAULT 1;
DROP INDEX ledger_ready;
CREATE INDEX ledger_ready ON ledger (channel, bulk, priority DESC, number, lane) WHERE status = 'pending' AND scheduled = 0;

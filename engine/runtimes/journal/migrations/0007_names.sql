-- A table has the same name here and in the embedded runtime's store. Views keep the old names, for the reports of operators and
-- for a sink of an earlier version that still runs.
ALTER TABLE messages RENAME TO ledger;
ALTER TABLE customers RENAME TO states;
ALTER TABLE states RENAME COLUMN body TO state;
ALTER TABLE totals RENAME TO counters;
ALTER TABLE forgotten RENAME TO erasures;

@postgresql ALTER INDEX messages_customer RENAME TO ledger_customer;
@postgresql ALTER INDEX messages_status RENAME TO ledger_status;
@postgresql ALTER INDEX messages_address RENAME TO ledger_address;
@postgresql ALTER INDEX messages_provider RENAME TO ledger_provider;
@postgresql ALTER INDEX customers_due RENAME TO states_due;

@sqlite DROP INDEX messages_customer;
@sqlite DROP INDEX messages_status;
@sqlite DROP INDEX messages_address;
@sqlite DROP INDEX messages_provider;
@sqlite DROP INDEX customers_due;
@sqlite CREATE INDEX ledger_customer ON ledger (customer, number);
@sqlite CREATE INDEX ledger_status ON ledger (status, number);
@sqlite CREATE INDEX ledger_address ON ledger (address) WHERE address <> '';
@sqlite CREATE INDEX ledger_provider ON ledger (provider_id) WHERE provider_id <> '';
@sqlite CREATE INDEX states_due ON states (due_ms) WHERE due_ms > 0;

CREATE VIEW messages AS SELECT * FROM ledger;
CREATE VIEW customers AS SELECT customer, partition, position, due_ms, updated_ms, state AS body FROM states;
CREATE VIEW totals AS SELECT * FROM counters;
CREATE VIEW forgotten AS SELECT * FROM erasures;

-- What may leave is read by channel: a provider that is full, or holds its messages back, must not make each look for the others
-- walk over everything that waits for it.
DROP INDEX ledger_ready;
CREATE INDEX ledger_ready ON ledger (channel, priority DESC, number, lane) WHERE status = 'pending' AND scheduled = 0;

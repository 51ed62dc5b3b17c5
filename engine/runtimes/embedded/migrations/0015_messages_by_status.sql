-- The newest messages of a status, of a workflow, or of both are found without walking over the others. What waits moves on soon and
-- is told apart from what is final, so that a message that is claimed and sent is written into each of these once.
CREATE INDEX ledger_pending ON ledger (number, workflow) WHERE status = 'pending';
CREATE INDEX ledger_status ON ledger (status, number) WHERE status NOT IN ('pending', 'claimed');
CREATE INDEX ledger_workflow ON ledger (workflow, status, number) WHERE status NOT IN ('pending', 'claimed');

-- The newest messages of a status, of a workflow, or of both are found without walking over the others. As in the embedded store.
DROP INDEX ledger_status;
CREATE INDEX ledger_pending ON ledger (number, workflow) WHERE status = 'pending';
CREATE INDEX ledger_claimed ON ledger (number) WHERE status = 'claimed';
CREATE INDEX ledger_status ON ledger (status, number) WHERE status NOT IN ('pending', 'claimed');
CREATE INDEX ledger_workflow ON ledger (workflow, status, number) WHERE status NOT IN ('pending', 'claimed');

-- What waited in the outbox for its broadcast to go on; if that is still paused the dispatcher puts it off again.
UPDATE ledger SET scheduled = 0 WHERE status = 'pending' AND scheduled = 1 AND reason = 'workflow_paused'

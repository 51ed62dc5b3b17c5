-- What was refused for the moment and waits for its next attempt; what waits for a time of its own (quiet hours, a pause of its workflow) goes on waiting.
UPDATE ledger SET scheduled = 0, not_before_ms = 0
WHERE status = 'pending' AND scheduled = 1 AND attempts > 0 AND reason NOT IN ('quiet_hours', 'workflow_paused')
    AND (:channel = '' OR channel = :channel) AND (:domain = '' OR lane = channel || ':' || :domain)

-- Outbox and ledger in one: a message is here from its decision on, exactly once.

-- name: ledger_insert
INSERT INTO ledger @rows(
    message, customer, channel, lane, priority, status = 'pending', scheduled, not_before_ms, updated_ms, address, body, workflow,
    bulk, step, template, issue, variant
) ON CONFLICT DO NOTHING

-- name: ledger_ready_channels
-- The channels that something waits for: one step of the index for each, however much waits.
WITH RECURSIVE waiting (channel) AS (
    SELECT (
        SELECT channel FROM ledger INDEXED BY ledger_ready WHERE status = 'pending' AND scheduled = 0 ORDER BY channel LIMIT 1
    )
    UNION ALL
    SELECT (
        SELECT channel FROM ledger INDEXED BY ledger_ready
        WHERE status = 'pending' AND scheduled = 0 AND channel > waiting.channel ORDER BY channel LIMIT 1
    ) FROM waiting WHERE waiting.channel IS NOT NULL
)
SELECT channel FROM waiting WHERE channel IS NOT NULL

-- name: ledger_ready
-- INDEXED BY: without it the planner may prefer to sort, and this has to cost what `limit` costs.
SELECT priority, number, message, customer, body, attempts, first_attempt_ms FROM ledger INDEXED BY ledger_ready
WHERE status = 'pending' AND scheduled = 0 AND channel = :channel AND bulk = :bulk
ORDER BY priority DESC, number LIMIT :limit

-- name: ledger_ready_except
SELECT priority, number, message, customer, body, attempts, first_attempt_ms FROM ledger INDEXED BY ledger_ready
WHERE status = 'pending' AND scheduled = 0 AND channel = :channel AND bulk = :bulk
    AND lane NOT IN (SELECT value FROM json_each(:lanes))
    AND (:all OR workflow IN (SELECT value FROM json_each(:released)))
ORDER BY priority DESC, number LIMIT :limit

-- name: ledger_next
SELECT not_before_ms FROM ledger INDEXED BY ledger_scheduled WHERE status = 'pending' AND scheduled = 1
ORDER BY not_before_ms LIMIT 1

-- name: ledger_promote
UPDATE ledger SET scheduled = 0 WHERE number IN (
    SELECT number FROM ledger WHERE status = 'pending' AND scheduled = 1 AND not_before_ms <= :now_ms
    ORDER BY not_before_ms LIMIT :limit
)

-- name: ledger_claim
UPDATE ledger SET status = 'claimed', attempts = attempts + 1, updated_ms = :now_ms,
    first_attempt_ms = CASE first_attempt_ms WHEN 0 THEN :now_ms ELSE first_attempt_ms END
WHERE message = :message AND status = 'pending'

-- name: ledger_links
-- Added to those of an earlier attempt, whose mail may have arrived.
UPDATE ledger SET links = json_patch(CASE links WHEN '' THEN '{}' ELSE links END, :links) WHERE message = :message

-- name: ledger_settle
-- A final answer stays; only `unknown` may still be found out to be something else.
UPDATE ledger SET status = :status, scheduled = :scheduled, not_before_ms = :not_before_ms, updated_ms = :at_ms,
    reason = :reason, code = :code,
    provider_id = CASE :provider_id WHEN '' THEN provider_id ELSE :provider_id END
WHERE message = :message AND (status IN ('pending', 'claimed') OR (status = 'unknown' AND :status <> 'unknown'))

-- name: ledger_claimed
SELECT message, customer, body FROM ledger INDEXED BY ledger_claimed WHERE status = 'claimed' ORDER BY number

-- name: ledger_resend
UPDATE ledger SET status = 'pending', scheduled = 0, resends = resends + 1, updated_ms = :at_ms, reason = :reason
WHERE message = :message AND status = 'claimed'

-- name: ledger_of_issue
SELECT body, status FROM ledger WHERE address IN (SELECT value FROM json_each(:addresses)) AND workflow = :workflow

-- name: ledger_sent_elsewhere
UPDATE ledger SET status = 'sent', scheduled = 0, updated_ms = :at_ms, reason = :reason, code = ''
WHERE (message = :message OR (provider_id <> '' AND provider_id = :message)) AND status IN ('pending', 'unknown')

-- name: ledger_sent_before
INSERT INTO ledger (message, customer, channel, lane, priority, status, scheduled, not_before_ms, updated_ms, reason, body)
VALUES (:message, '', '', '', 0, 'sent', 0, 0, :at_ms, :reason, :body) ON CONFLICT DO NOTHING

-- name: ledger_flush
-- What was refused for the moment and waits for its next attempt; what waits for a time of its own (quiet hours, a pause of its
-- workflow) goes on waiting.
UPDATE ledger SET scheduled = 0, not_before_ms = 0
WHERE status = 'pending' AND scheduled = 1 AND attempts > 0 AND reason NOT IN ('quiet_hours', 'workflow_paused')
    AND (:channel = '' OR channel = :channel) AND (:domain = '' OR lane = channel || ':' || :domain)

-- name: ledger_unpause
-- What waited in the outbox for its broadcast to go on; if that is still paused the dispatcher puts it off again.
UPDATE ledger SET scheduled = 0 WHERE status = 'pending' AND scheduled = 1 AND reason = 'workflow_paused'

-- name: ledger_hold
-- Waits with its customer, who is set aside.
UPDATE ledger SET scheduled = 1, not_before_ms = :until_ms, reason = :reason
WHERE customer = :customer AND status = 'pending'

-- name: ledger_hold_one
-- It cannot be read. One that was under way may have left: nobody can say.
UPDATE ledger SET status = CASE status WHEN 'claimed' THEN 'unknown' ELSE status END, scheduled = 1,
    not_before_ms = :until_ms, reason = :reason
WHERE message = :message AND status IN ('pending', 'claimed')

-- name: ledger_unhold
UPDATE ledger SET scheduled = 0, not_before_ms = 0, reason = ''
WHERE customer = :customer AND status = 'pending' AND reason = :reason

-- name: ledger_prune
-- Looks at the oldest messages only; what may still leave stays.
DELETE FROM ledger WHERE number IN (
    SELECT number FROM (SELECT number, updated_ms, status FROM ledger ORDER BY number LIMIT :limit)
    WHERE updated_ms < :before_ms AND status NOT IN ('pending', 'claimed')
)

-- name: ledger_forget
DELETE FROM ledger WHERE customer = :customer

-- name: ledger_mend
UPDATE ledger SET body = :body, scheduled = 0, not_before_ms = 0, reason = CASE reason WHEN 'unreadable' THEN '' ELSE reason END
WHERE message = :message

-- name: ledger_give_up
UPDATE ledger SET status = 'failed', scheduled = 0, reason = 'unreadable', updated_ms = :at_ms
WHERE message = :message AND status IN ('pending', 'claimed')

-- name: ledger_unfilled
SELECT number, body FROM ledger WHERE number <= (SELECT value FROM progress WHERE name = 'unfilled')
ORDER BY number DESC LIMIT :limit

-- name: ledger_fill
UPDATE ledger SET workflow = ?, step = ?, template = ?, issue = ?, variant = ? WHERE number = ?

-- name: examine_ledger
SELECT message, customer, body, links FROM ledger ORDER BY number

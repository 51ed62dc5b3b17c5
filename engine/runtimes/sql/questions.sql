-- What the port `Reader` asks, of either store.

-- columns: told
body, status, attempts, reason, code, provider_id, updated_ms, links

-- columns: consent
record, customer, purpose, channel, action, basis, address, source, at_ms, recorded_ms, requested_ms, proof, erased_ms

-- columns: letter
number, at_ms, origin, reason, customer, body

-- name: state_of
SELECT state FROM states WHERE customer = :customer

-- name: states_after
SELECT state FROM states WHERE customer > :after ORDER BY customer LIMIT :limit

-- name: journal_{by}_{order}
-- The conditions are those that an index serves; `line` is what the store keeps of a decision.
-- by all:
-- by customer: customer = :customer AND
-- by workflow: workflow = :workflow AND workflow <> '' AND
-- by kind: kind = :kind AND
-- by task: kind = :kind AND kind IN ('task', 'task_assigned', 'task_done') AND
-- order newest: DESC
-- order oldest: ASC
SELECT @columns(line) FROM journal
WHERE @by seq > :after_seq
    AND (:customer = '' OR customer = :customer)
    AND (:workflow = '' OR workflow = :workflow)
    AND (:enrollment = '' OR enrollment = :enrollment)
    AND (:message = '' OR message = :message)
    AND (:all_kinds = 1 OR kind IN @texts(kinds))
ORDER BY seq @order LIMIT :limit

-- name: ledger_customer_of
SELECT customer FROM ledger WHERE message = :message

-- name: ledger_one
SELECT @columns(told) FROM ledger WHERE message = :message

-- name: ledger_number
SELECT number FROM ledger WHERE message = :message

-- name: messages_{by}
-- Newest first, below a number. Each is one range of an index, but for what is pending and claimed: there a workflow's are looked for
-- among all that wait.
-- by all: WHERE
-- by customer: WHERE customer = :customer AND (:status = '' OR status = :status) AND (:workflow = '' OR workflow = :workflow) AND
-- by pending: @indexed(ledger_pending) WHERE status = 'pending' AND (:workflow = '' OR workflow = :workflow) AND
-- by claimed: @indexed(ledger_claimed) WHERE status = 'claimed' AND (:workflow = '' OR workflow = :workflow) AND
-- by status: @indexed(ledger_status) WHERE status = :status AND status NOT IN ('pending', 'claimed') AND
-- by both: @indexed(ledger_workflow) WHERE workflow = :workflow AND status = :status AND status NOT IN ('pending', 'claimed') AND
SELECT @columns(told) FROM ledger @by number < :below ORDER BY number DESC LIMIT :limit

-- name: messages_workflow
-- The newest of each status, and of those the newest.
SELECT @columns(told) FROM ledger WHERE number IN (
    SELECT number FROM (
        SELECT number FROM ledger @indexed(ledger_pending) WHERE workflow = :workflow AND status = 'pending' AND number < :below
        ORDER BY number DESC LIMIT :limit
    ) AS pending_ones
    UNION ALL
    SELECT number FROM (
        SELECT number FROM ledger @indexed(ledger_claimed) WHERE workflow = :workflow AND status = 'claimed' AND number < :below
        ORDER BY number DESC LIMIT :limit
    ) AS claimed_ones
    UNION ALL
    SELECT number FROM (
        SELECT number FROM ledger @indexed(ledger_workflow) WHERE workflow = :workflow AND status = 'sent' AND status NOT IN ('pending', 'claimed') AND number < :below
        ORDER BY number DESC LIMIT :limit
    ) AS sent_ones
    UNION ALL
    SELECT number FROM (
        SELECT number FROM ledger @indexed(ledger_workflow) WHERE workflow = :workflow AND status = 'failed' AND status NOT IN ('pending', 'claimed') AND number < :below
        ORDER BY number DESC LIMIT :limit
    ) AS failed_ones
    UNION ALL
    SELECT number FROM (
        SELECT number FROM ledger @indexed(ledger_workflow) WHERE workflow = :workflow AND status = 'suppressed' AND status NOT IN ('pending', 'claimed') AND number < :below
        ORDER BY number DESC LIMIT :limit
    ) AS suppressed_ones
    UNION ALL
    SELECT number FROM (
        SELECT number FROM ledger @indexed(ledger_workflow) WHERE workflow = :workflow AND status = 'unknown' AND status NOT IN ('pending', 'claimed') AND number < :below
        ORDER BY number DESC LIMIT :limit
    ) AS unknown_ones
) ORDER BY number DESC LIMIT :limit

-- name: ledger_by_provider
SELECT @columns(told) FROM ledger WHERE provider_id = :provider_id AND provider_id <> '' ORDER BY number DESC LIMIT 1

-- name: ledger_by_address
-- The newest of each customer and channel.
SELECT @columns(told) FROM ledger WHERE number IN (
    SELECT max(number) FROM ledger WHERE address IN @texts(addresses) AND address <> '' GROUP BY customer, channel
) ORDER BY number DESC LIMIT :limit

-- name: ledger_statuses
SELECT message, status, updated_ms FROM ledger WHERE message IN @texts(messages)

-- name: consents_of_customer
SELECT @columns(consent) FROM consents WHERE customer = :customer ORDER BY number LIMIT :limit

-- name: consents_of_address
SELECT @columns(consent) FROM consents WHERE address IN @texts(addresses) ORDER BY number LIMIT :limit

-- name: dead_letters_oldest
SELECT @columns(letter) FROM dead_letters ORDER BY number LIMIT :limit

-- name: dead_letters_some
SELECT @columns(letter) FROM dead_letters WHERE number IN @numbers(numbers) ORDER BY number

-- name: dead_letters_count
SELECT count(*) FROM dead_letters

-- name: pace_read
SELECT workflow, (bucket_ms - :since_ms) / :span_ms AS stretch, CAST(sum(queued) AS BIGINT), CAST(sum(sent) AS BIGINT),
    CAST(sum(bounced) AS BIGINT), CAST(sum(complained) AS BIGINT)
FROM pace
WHERE bucket_ms >= :since_ms AND bucket_ms < :until_ms AND (:workflow = '' OR workflow = :workflow)
GROUP BY workflow, stretch ORDER BY stretch, workflow

-- name: control_all
SELECT workflow, paused, at_ms, reason FROM control ORDER BY workflow

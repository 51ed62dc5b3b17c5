-- The messages, and what became of them.

-- name: ledger_known
SELECT message, version, channel, status, number, workflow, updated_ms FROM ledger WHERE message IN @texts(messages)

-- name: ledger_put
INSERT INTO ledger @rows(
    number BIGINT, message TEXT, partition BIGINT, version BIGINT, log_offset BIGINT, customer TEXT, workflow TEXT, step TEXT,
    channel TEXT, template TEXT, purpose TEXT, status TEXT, attempts BIGINT, reason TEXT, code TEXT, provider_id TEXT,
    decided_ms BIGINT, updated_ms BIGINT, address TEXT, body BYTEA, links TEXT, issue TEXT, variant TEXT
) ON CONFLICT (message) DO UPDATE SET
    @excluded(version, log_offset, customer, workflow, step, channel, template, purpose, issue, variant, status, attempts, reason,
        code, provider_id, updated_ms, address, body, links)

-- name: ledger_delete
DELETE FROM ledger WHERE message IN @texts(messages)

-- name: ledger_forget
DELETE FROM ledger WHERE customer = :customer AND partition = :partition AND log_offset <= :log_offset
RETURNING channel, status, workflow, updated_ms

-- name: ledger_bodies
SELECT number, body FROM ledger WHERE number > :after ORDER BY number LIMIT :limit

-- name: ledger_fill
UPDATE ledger SET issue = :issue, variant = :variant WHERE number IN @numbers(numbers)

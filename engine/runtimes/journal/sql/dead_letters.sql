-- Records that could not be applied.

-- name: dead_letters_known
SELECT identity FROM dead_letters WHERE identity IN @texts(identities)

-- name: dead_letters_insert
INSERT INTO dead_letters @rows(
    number BIGINT, identity TEXT, log_partition BIGINT, log_offset BIGINT, at_ms BIGINT, origin TEXT, reason TEXT,
    customer TEXT, body BYTEA
)

-- name: dead_letters_delete
DELETE FROM dead_letters WHERE number IN @numbers(numbers) RETURNING number

-- name: dead_letters_forget
DELETE FROM dead_letters WHERE customer = :customer AND customer <> '' AND (
    (log_partition = :partition AND log_offset <= :log_offset) OR (log_partition <> :partition AND at_ms <= :at_ms)
) RETURNING number

-- name: dead_letters_prune
DELETE FROM dead_letters WHERE number IN (
    SELECT number FROM (SELECT number, at_ms FROM dead_letters ORDER BY number LIMIT :limit) AS oldest WHERE at_ms < :before_ms
) RETURNING number

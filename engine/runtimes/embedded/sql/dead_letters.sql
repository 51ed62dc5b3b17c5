-- Input that could not be applied, and rows that cannot be read (`set_aside`).

-- name: dead_letter_insert
INSERT INTO dead_letters @rows(at_ms, origin, reason, customer, body)

-- name: dead_letter_delete
DELETE FROM dead_letters WHERE number = ?

-- name: dead_letters_prune
DELETE FROM dead_letters WHERE number IN (
    SELECT number FROM (SELECT number, at_ms FROM dead_letters ORDER BY number LIMIT :limit) WHERE at_ms < :before_ms
) AND customer NOT IN (SELECT customer FROM set_aside WHERE customer <> '')

-- name: dead_letters_forget
DELETE FROM dead_letters WHERE customer = :customer AND customer <> ''

-- name: dead_letters_forget_address
DELETE FROM dead_letters WHERE customer = '' AND instr(lower(CAST(body AS TEXT)), :address) > 0

-- name: letter_of_row
DELETE FROM dead_letters WHERE origin = :origin AND customer = :customer

-- name: letters_waiting
-- Records that wait for their customer, oldest first.
SELECT number, CAST(substr(origin, 5) AS INTEGER), body FROM dead_letters
WHERE customer = :customer AND origin LIKE 'log:%' AND reason LIKE 'waits: %' ORDER BY number

-- name: set_aside_all
SELECT kind, key, customer, reason FROM set_aside ORDER BY kind, key

-- name: set_aside_insert
INSERT INTO set_aside (kind, key, customer, reason, at_ms) VALUES (:kind, :key, :customer, :reason, :at_ms) ON CONFLICT DO NOTHING

-- name: set_aside_delete
DELETE FROM set_aside WHERE kind = :kind AND key = :key

-- name: set_aside_forget
DELETE FROM set_aside WHERE customer = :customer

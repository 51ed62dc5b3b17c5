-- The customers.

-- name: states_known
SELECT customer, position, due_ms FROM states WHERE customer IN @texts(customers)

-- name: states_put
INSERT INTO states @rows(customer TEXT, partition BIGINT, position BIGINT, due_ms BIGINT, updated_ms BIGINT, state BYTEA)
ON CONFLICT (customer) DO UPDATE SET @excluded(partition, position, due_ms, updated_ms, state)

-- name: states_delete
DELETE FROM states WHERE customer IN @texts(customers)

-- name: states_forget
DELETE FROM states WHERE customer = :customer AND partition = :partition AND position <= :log_offset RETURNING due_ms

-- name: timers_overdue
SELECT count(*) FROM states WHERE due_ms > 0 AND due_ms <= :now_ms

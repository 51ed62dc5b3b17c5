-- The customers, and when each is next due (`timers`).

-- columns: slot
customer, number, due_ms, state

-- name: state_load
SELECT @columns(slot) FROM states WHERE customer = ?

-- name: states_load
SELECT @columns(slot) FROM states WHERE customer IN (SELECT value FROM json_each(?))

-- name: states_page
SELECT number, state FROM states WHERE number > :after ORDER BY number LIMIT :limit

-- name: states_walk
SELECT number, customer FROM states WHERE number > :after ORDER BY number LIMIT :limit

-- name: state_insert
INSERT INTO states @rows(customer, due_ms, state)

-- name: state_update
UPDATE states SET due_ms = ?, state = ? WHERE number = ?

-- name: state_defer
UPDATE states SET due_ms = ? WHERE number = ?

-- name: state_delete
DELETE FROM states WHERE number = ?

-- name: state_mend
UPDATE states SET due_ms = :due_ms, state = :state WHERE customer = :customer

-- name: state_give_up
DELETE FROM states WHERE customer = :customer

-- name: examine_states
SELECT customer, customer, state FROM states ORDER BY number

-- name: timer_insert
INSERT INTO timers @rows(due_ms, customer) ON CONFLICT DO NOTHING

-- name: timer_delete
DELETE FROM timers WHERE due_ms = ? AND customer = ?

-- name: timers_due
SELECT due_ms, customer FROM timers WHERE due_ms <= :now_ms ORDER BY due_ms LIMIT :limit

-- name: timers_next
SELECT due_ms FROM timers ORDER BY due_ms LIMIT 1

-- name: timers_overdue
SELECT count(*) FROM timers WHERE due_ms <= :now_ms

-- name: timers_forget
DELETE FROM timers WHERE customer = :customer

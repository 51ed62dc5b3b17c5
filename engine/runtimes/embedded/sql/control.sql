-- What operators say: about workflows (`control`) and tests of subjects (`winners`), and what waits to be taken (`commands`).

-- name: control_set
INSERT INTO control @rows(workflow, paused, at_ms, reason, since_ms)
ON CONFLICT (workflow) DO UPDATE SET @excluded(paused, at_ms, reason, since_ms)

-- name: control_paused
SELECT workflow, since_ms FROM control WHERE paused = 1

-- name: winner_insert
INSERT INTO winners @rows(test, variant, at_ms) ON CONFLICT (test) DO NOTHING

-- name: winners_newest
SELECT test, variant FROM winners ORDER BY number DESC LIMIT :limit

-- name: command_insert
INSERT INTO commands @rows(record)

-- name: command_delete
DELETE FROM commands WHERE number = ?

-- name: commands_oldest
SELECT number, record FROM commands ORDER BY number LIMIT :limit

-- name: commands_count
SELECT count(*) FROM commands

-- name: commands_give_up
DELETE FROM commands WHERE number = :key

-- name: examine_commands
SELECT number, '', record FROM commands ORDER BY number

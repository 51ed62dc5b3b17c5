-- What was deployed, and what is handed over to be deployed (`handovers`).

-- name: definition_insert
INSERT INTO definitions (catalog, deployed_ms, files) VALUES (:catalog, :deployed_ms, :files)
ON CONFLICT (catalog) DO UPDATE SET @excluded(deployed_ms, files)

-- name: definitions_all
SELECT catalog, files FROM definitions ORDER BY deployed_ms DESC, number DESC

-- name: definitions_newest
SELECT catalog, deployed_ms, files FROM definitions ORDER BY deployed_ms DESC, number DESC LIMIT :limit

-- name: definitions_give_up
DELETE FROM definitions WHERE catalog = :key

-- name: examine_definitions
SELECT catalog, '', files FROM definitions ORDER BY number

-- name: handover_insert
INSERT INTO handovers (handed_ms, versions, files) VALUES (:handed_ms, :versions, :files) RETURNING number

-- name: handover_newest
SELECT number, versions, files FROM handovers WHERE answered_ms = 0 ORDER BY number DESC LIMIT 1

-- name: handover_one
SELECT answered_ms, catalog, problem FROM handovers WHERE number = :number

-- name: handover_answer
-- Earlier ones that nobody took are answered with it: only the newest counts.
UPDATE handovers
SET answered_ms = :answered_ms,
    files = x'',
    catalog = CASE WHEN number = :number THEN :catalog ELSE '' END,
    problem = CASE WHEN number = :number THEN :problem ELSE 'a newer deploy came before it was taken' END
WHERE number <= :number AND answered_ms = 0

-- name: handovers_give_up
DELETE FROM handovers WHERE number = :key

-- name: examine_handovers
SELECT number, '', files FROM handovers WHERE answered_ms = 0 ORDER BY number

-- The consent ledger and the chain over it (engine/runtimes/consent_chain.py): added to, never changed.

-- name: consents_known
SELECT record FROM consents WHERE record IN @texts(records)

-- name: consents_insert
INSERT INTO consents @rows(
    number BIGINT, partition BIGINT, log_offset BIGINT, record TEXT, customer TEXT, purpose TEXT, channel TEXT, action TEXT,
    basis TEXT, address TEXT, source TEXT, at_ms BIGINT, recorded_ms BIGINT, requested_ms BIGINT, proof TEXT, erased_ms BIGINT,
    salt TEXT, seal TEXT, hidden TEXT, prev TEXT, hash TEXT
)

-- name: consents_head
SELECT number, hash FROM consent_head

-- name: consents_head_set
INSERT INTO consent_head (one, number, hash) VALUES (1, :number, :hash)
ON CONFLICT (one) DO UPDATE SET @excluded(number, hash)

-- name: consents_link
UPDATE consents SET salt = :salt, seal = :seal, hidden = :hidden, prev = :prev, hash = :hash WHERE number = :number

-- name: consents_chain
SELECT number, partition, log_offset, @columns(consent), salt, seal, hidden, prev, hash FROM consents WHERE number > :after
UNION ALL SELECT number, 0, 0, '', '', '', '', '', '', '', '', 0, 0, 0, '', erased_ms, '', '', '', prev, hash
    FROM consent_gone WHERE number > :after
ORDER BY number LIMIT :limit

-- name: consents_journal
SELECT @columns(line), partition, log_offset, line FROM journal
WHERE kind = 'consent' AND seq > :after ORDER BY seq LIMIT :limit

-- name: consents_states
SELECT customer, partition, position, state FROM states WHERE customer > :after ORDER BY customer LIMIT :limit

-- name: consents_forget
SELECT @columns(consent), hidden FROM consents
WHERE customer = :customer AND partition = :partition AND log_offset <= :log_offset AND erased_ms = 0

-- name: consents_hide
UPDATE consents SET record = :hidden, customer = :customer, address = :address, proof = :proof, erased_ms = :erased_ms, salt = ''
WHERE record = :record RETURNING number

-- name: consents_leave
INSERT INTO consent_gone (number, erased_ms, prev, hash)
SELECT number, erased_ms, prev, hash FROM consents
WHERE erased_ms > 0 AND erased_ms < :before_ms AND record || ' ' || address = hidden ORDER BY number LIMIT :limit
ON CONFLICT (number) DO NOTHING

-- name: consents_prune
DELETE FROM consents WHERE erased_ms > 0 AND erased_ms < :before_ms AND number IN (SELECT number FROM consent_gone)
RETURNING number

-- The consent ledger and the chain over it (engine/runtimes/consent_chain.py): added to, never changed.

-- name: consents_last
SELECT coalesce(max(number), 0) FROM consents

-- name: consents_insert
INSERT INTO consents @rows(
    number, log_seq, record, customer, purpose, channel, action, basis, address, source, at_ms, recorded_ms, requested_ms, proof,
    erased_ms, salt, seal, hidden, prev, hash
) ON CONFLICT (record) DO NOTHING

-- name: consents_head
SELECT number, hash FROM consent_head

-- name: consents_head_set
INSERT INTO consent_head @rows(number, hash, one = 1) ON CONFLICT (one) DO UPDATE SET @excluded(number, hash)

-- name: consents_link
UPDATE consents SET salt = ?, seal = ?, hidden = ?, prev = ?, hash = ? WHERE number = ?

-- name: consents_chain
SELECT number, log_seq, @columns(consent), salt, seal, hidden, prev, hash FROM consents WHERE number > :after
UNION ALL SELECT number, 0, '', '', '', '', '', '', '', '', 0, 0, 0, '', erased_ms, '', '', '', prev, hash
    FROM consent_gone WHERE number > :after
ORDER BY number LIMIT :limit

-- name: consents_journal
SELECT seq, log_seq, decision FROM journal WHERE kind = 'consent' AND seq > :after ORDER BY seq LIMIT :limit

-- name: consents_forget
SELECT @columns(consent), hidden FROM consents WHERE customer = :customer AND log_seq <= :log_seq AND erased_ms = 0

-- name: consents_hide
UPDATE consents SET record = :hidden, customer = :customer, address = :address, proof = :proof, erased_ms = :erased_ms, salt = ''
WHERE record = :record

-- name: consents_leave
INSERT INTO consent_gone (number, erased_ms, prev, hash)
SELECT number, erased_ms, prev, hash FROM consents
WHERE erased_ms > 0 AND erased_ms < :before_ms AND record || ' ' || address = hidden LIMIT :limit

-- name: consents_prune
DELETE FROM consents WHERE erased_ms > 0 AND erased_ms < :before_ms AND number IN (SELECT number FROM consent_gone)

-- name: examine_consents
SELECT number, customer, proof FROM consents ORDER BY number

-- Addresses nothing is sent to, as keyed hashes.

-- name: suppressed_load
SELECT reason, at_ms FROM suppressed_addresses WHERE hash = ?

-- name: suppressed_any
SELECT EXISTS (SELECT 1 FROM suppressed_addresses)

-- name: suppressed_all
SELECT hash, channel, reason, at_ms FROM suppressed_addresses ORDER BY at_ms, hash

-- name: suppressed_insert
INSERT INTO suppressed_addresses @rows(hash, channel, reason, at_ms)
ON CONFLICT (hash) DO UPDATE SET @excluded(reason, at_ms)
WHERE (excluded.reason = 'bounced') < (reason = 'bounced')
    OR ((excluded.reason = 'bounced') = (reason = 'bounced') AND excluded.at_ms >= at_ms)

-- name: suppressed_delete
DELETE FROM suppressed_addresses WHERE hash = ?

-- name: hashes_any
SELECT EXISTS (SELECT 1 FROM suppressed_addresses) OR EXISTS (SELECT 1 FROM erasures)
    OR EXISTS (SELECT 1 FROM consents WHERE erased_ms > 0)

INSERT INTO consent_gone (number, erased_ms, prev, hash)
SELECT number, erased_ms, prev, hash FROM consents WHERE erased_ms > 0 AND erased_ms < :before_ms AND record || ' ' || address = hidden ORDER BY number LIMIT :limit
ON CONFLICT (number) DO NOTHING

-- A final answer stays; only `unknown` may still be found out to be something else.
UPDATE ledger SET status = :status, scheduled = :scheduled, not_before_ms = :not_before_ms, updated_ms = :at_ms,
    reason = :reason, code = :code,
    provider_id = CASE :provider_id WHEN '' THEN provider_id ELSE :provider_id END
WHERE message = :message AND (status IN ('pending', 'claimed') OR (status = 'unknown' AND :status <> 'unknown'))

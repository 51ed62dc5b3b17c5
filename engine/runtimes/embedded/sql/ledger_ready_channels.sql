-- The channels that something waits for: one step of the index for each, however much waits.
WITH RECURSIVE waiting (channel) AS (
    SELECT (SELECT channel FROM ledger INDEXED BY ledger_ready WHERE status = 'pending' AND scheduled = 0 ORDER BY channel LIMIT 1)
    UNION ALL
    SELECT (
        SELECT channel FROM ledger INDEXED BY ledger_ready
        WHERE status = 'pending' AND scheduled = 0 AND channel > waiting.channel ORDER BY channel LIMIT 1
    ) FROM waiting WHERE waiting.channel IS NOT NULL
)
SELECT channel FROM waiting WHERE channel IS NOT NULL

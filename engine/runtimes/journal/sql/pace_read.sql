SELECT workflow, (bucket_ms - :since_ms) / :span_ms AS stretch, CAST(sum(queued) AS BIGINT), CAST(sum(sent) AS BIGINT),
    CAST(sum(bounced) AS BIGINT), CAST(sum(complained) AS BIGINT)
FROM pace
WHERE bucket_ms >= :since_ms AND bucket_ms < :until_ms AND (:workflow = '' OR workflow = :workflow)
GROUP BY workflow, stretch ORDER BY stretch, workflow

SELECT workflow, (bucket_ms - :since_ms) / :span_ms AS stretch, sum(queued), sum(sent), sum(bounced), sum(complained) FROM pace
WHERE bucket_ms >= :since_ms AND bucket_ms < :until_ms AND (:workflow = '' OR workflow = :workflow)
GROUP BY workflow, stretch ORDER BY stretch, workflow

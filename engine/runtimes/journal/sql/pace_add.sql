INSERT INTO pace (bucket_ms, workflow, partition, queued, sent, bounced, complained)
@rows(
    bucket_ms BIGINT, workflow TEXT, partition BIGINT, queued BIGINT, sent BIGINT, bounced BIGINT, complained BIGINT
)
ON CONFLICT (bucket_ms, workflow, partition) DO UPDATE SET
    queued = pace.queued + excluded.queued, sent = pace.sent + excluded.sent, bounced = pace.bounced + excluded.bounced,
    complained = pace.complained + excluded.complained

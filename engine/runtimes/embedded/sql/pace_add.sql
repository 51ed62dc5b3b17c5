INSERT INTO pace (bucket_ms, workflow, queued, bounced, complained) VALUES (?, ?, ?, ?, ?)
ON CONFLICT (bucket_ms, workflow) DO UPDATE SET
    queued = queued + excluded.queued, bounced = bounced + excluded.bounced, complained = complained + excluded.complained

INSERT INTO messages (
    number, message, partition, version, log_offset, customer, workflow, step, channel, template, purpose, status, attempts,
    reason, code, provider_id, decided_ms, updated_ms, address, body, links
) @rows(
    number BIGINT, message TEXT, partition BIGINT, version BIGINT, log_offset BIGINT, customer TEXT, workflow TEXT, step TEXT,
    channel TEXT, template TEXT, purpose TEXT, status TEXT, attempts BIGINT, reason TEXT, code TEXT, provider_id TEXT,
    decided_ms BIGINT, updated_ms BIGINT, address TEXT, body BYTEA, links TEXT
) ON CONFLICT (message) DO UPDATE SET
    version = excluded.version, log_offset = excluded.log_offset, customer = excluded.customer, status = excluded.status,
    channel = excluded.channel, attempts = excluded.attempts, reason = excluded.reason, code = excluded.code,
    provider_id = excluded.provider_id, updated_ms = excluded.updated_ms, address = excluded.address,
    body = excluded.body, links = excluded.links

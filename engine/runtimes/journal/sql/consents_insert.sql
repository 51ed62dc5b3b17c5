INSERT INTO consents (
    number, partition, log_offset, record, customer, purpose, channel, action, basis, address, source, at_ms, recorded_ms,
    requested_ms, proof, erased_ms, salt, seal, hidden, prev, hash
) @rows(
    number BIGINT, partition BIGINT, log_offset BIGINT, record TEXT, customer TEXT, purpose TEXT, channel TEXT, action TEXT,
    basis TEXT, address TEXT, source TEXT, at_ms BIGINT, recorded_ms BIGINT, requested_ms BIGINT, proof TEXT, erased_ms BIGINT,
    salt TEXT, seal TEXT, hidden TEXT, prev TEXT, hash TEXT
)

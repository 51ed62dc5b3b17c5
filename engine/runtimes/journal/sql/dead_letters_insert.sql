INSERT INTO dead_letters (number, identity, log_partition, log_offset, at_ms, origin, reason, customer, body)
@rows(
    number BIGINT, identity TEXT, log_partition BIGINT, log_offset BIGINT, at_ms BIGINT, origin TEXT, reason TEXT,
    customer TEXT, body BYTEA
)

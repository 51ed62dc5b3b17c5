INSERT INTO journal (
    seq, partition, log_offset, line, at_ms, customer, kind, workflow, version, enrollment, step, message, detail, why
) @rows(
    seq BIGINT, partition BIGINT, log_offset BIGINT, line BIGINT, at_ms BIGINT, customer TEXT, kind TEXT, workflow TEXT,
    version TEXT, enrollment TEXT, step TEXT, message TEXT, detail TEXT, why TEXT
)

INSERT INTO customers (customer, partition, position, due_ms, updated_ms, body)
@rows(customer TEXT, partition BIGINT, position BIGINT, due_ms BIGINT, updated_ms BIGINT, body BYTEA)
ON CONFLICT (customer) DO UPDATE SET
    partition = excluded.partition, position = excluded.position, due_ms = excluded.due_ms, updated_ms = excluded.updated_ms,
    body = excluded.body

-- What the sink keeps of Kafka's topics, for the console and for reports. Times are UTC milliseconds; `detail` and `why` are
-- JSON text; `body` of messages and customers is msgpack. BIGINT and BYTEA are INTEGER and BLOB in SQLite.

-- How far each partition of each topic is written: the same transaction holds what was written.
CREATE TABLE progress (
    topic TEXT NOT NULL,
    partition BIGINT NOT NULL,
    next_offset BIGINT NOT NULL,
    PRIMARY KEY (topic, partition)
);

-- Numbers that say in which order rows arrived. Given under this row's lock, so a reader never sees a later one first.
CREATE TABLE serials (
    name TEXT NOT NULL PRIMARY KEY,
    value BIGINT NOT NULL
);

INSERT INTO serials (name, value) VALUES ('journal', 0), ('messages', 0), ('dead_letters', 0);

-- Decisions. The identity of a line is (partition, log_offset, line): of the record on `touchpoints` that led to it.
CREATE TABLE journal (
    seq BIGINT NOT NULL PRIMARY KEY,
    partition BIGINT NOT NULL,
    log_offset BIGINT NOT NULL,
    line BIGINT NOT NULL,
    at_ms BIGINT NOT NULL,
    customer TEXT NOT NULL,
    kind TEXT NOT NULL,
    workflow TEXT NOT NULL,
    version TEXT NOT NULL,
    enrollment TEXT NOT NULL,
    step TEXT NOT NULL,
    message TEXT NOT NULL,
    detail TEXT NOT NULL,
    why TEXT NOT NULL,
    UNIQUE (partition, log_offset, line)
);

CREATE INDEX journal_customer ON journal (customer, seq);
CREATE INDEX journal_workflow ON journal (workflow, seq) WHERE workflow <> '';
CREATE INDEX journal_kind ON journal (kind, seq);

-- The ledger. `version` is that of the row in the ledger's changelog.
CREATE TABLE messages (
    number BIGINT NOT NULL PRIMARY KEY,
    message TEXT NOT NULL UNIQUE,
    partition BIGINT NOT NULL,
    version BIGINT NOT NULL,
    log_offset BIGINT NOT NULL,
    customer TEXT NOT NULL,
    workflow TEXT NOT NULL,
    step TEXT NOT NULL,
    channel TEXT NOT NULL,
    template TEXT NOT NULL,
    purpose TEXT NOT NULL,
    status TEXT NOT NULL,
    attempts BIGINT NOT NULL,
    reason TEXT NOT NULL,
    code TEXT NOT NULL,
    provider_id TEXT NOT NULL,
    decided_ms BIGINT NOT NULL,
    updated_ms BIGINT NOT NULL,
    body BYTEA NOT NULL
);

CREATE INDEX messages_customer ON messages (customer, number);
CREATE INDEX messages_status ON messages (status, number);

CREATE TABLE customers (
    customer TEXT NOT NULL PRIMARY KEY,
    partition BIGINT NOT NULL,
    position BIGINT NOT NULL,
    due_ms BIGINT NOT NULL,
    updated_ms BIGINT NOT NULL,
    body BYTEA NOT NULL
);

CREATE INDEX customers_due ON customers (due_ms) WHERE due_ms > 0;

-- `identity` keeps a letter that was sent twice from standing here twice. log_partition and log_offset: the record that could
-- not be applied, -1 when it never was on `touchpoints`.
CREATE TABLE dead_letters (
    number BIGINT NOT NULL PRIMARY KEY,
    identity TEXT NOT NULL UNIQUE,
    log_partition BIGINT NOT NULL,
    log_offset BIGINT NOT NULL,
    at_ms BIGINT NOT NULL,
    origin TEXT NOT NULL,
    reason TEXT NOT NULL,
    customer TEXT NOT NULL,
    body BYTEA NOT NULL
);

CREATE INDEX dead_letters_customer ON dead_letters (customer) WHERE customer <> '';

-- Totals for summaries, kept as things happen so that nobody has to count rows; by partition so that sinks do not wait for
-- each other. Their sum over the partitions is the answer.
CREATE TABLE totals (
    name TEXT NOT NULL,
    part TEXT NOT NULL,
    partition BIGINT NOT NULL,
    value BIGINT NOT NULL,
    PRIMARY KEY (name, part, partition)
);

-- Receipts of erasures. The hash is keyed with this database's own `erasure_key`: it recognises what arrives late.
CREATE TABLE forgotten (
    partition BIGINT NOT NULL,
    log_offset BIGINT NOT NULL,
    customer_hash TEXT NOT NULL,
    alias TEXT NOT NULL,
    at_ms BIGINT NOT NULL,
    rows_removed BIGINT NOT NULL,
    PRIMARY KEY (customer_hash, partition, log_offset)
);

CREATE TABLE secrets (
    name TEXT NOT NULL PRIMARY KEY,
    value TEXT NOT NULL
);

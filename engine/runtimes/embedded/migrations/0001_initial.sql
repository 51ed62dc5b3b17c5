-- Everything the embedded runtime keeps. Times are UTC milliseconds, blobs are msgpack.

-- How far each counter has come: `log` (last sequence number given), `applied` (last one evaluated), `recheck` (states
-- rechecked after a deploy, by number; -1: none under way).
CREATE TABLE progress (
    name TEXT PRIMARY KEY,
    value INTEGER NOT NULL,
    note TEXT NOT NULL DEFAULT ''
) WITHOUT ROWID;

INSERT INTO progress (name, value) VALUES ('log', 0), ('applied', 0), ('recheck', -1);

-- Totals for summaries, kept as things happen so that nobody has to count rows.
CREATE TABLE counters (
    name TEXT NOT NULL,
    part TEXT NOT NULL,
    value INTEGER NOT NULL,
    PRIMARY KEY (name, part)
) WITHOUT ROWID;

CREATE TABLE log (
    seq INTEGER PRIMARY KEY,
    at_ms INTEGER NOT NULL,
    customer TEXT NOT NULL,
    record BLOB NOT NULL
);

-- A rowid table with a text key: blobs of a kilobyte make a WITHOUT ROWID tree 2.5 times slower (measured).
-- due_ms is what the timer index holds for this customer, 0 when nothing.
CREATE TABLE states (
    number INTEGER PRIMARY KEY,
    customer TEXT NOT NULL UNIQUE,
    due_ms INTEGER NOT NULL,
    state BLOB NOT NULL
);

CREATE TABLE timers (
    due_ms INTEGER NOT NULL,
    customer TEXT NOT NULL,
    PRIMARY KEY (due_ms, customer)
) WITHOUT ROWID;

CREATE TABLE journal (
    seq INTEGER PRIMARY KEY,
    log_seq INTEGER NOT NULL,
    at_ms INTEGER NOT NULL,
    customer TEXT NOT NULL,
    workflow TEXT NOT NULL,
    kind TEXT NOT NULL,
    enrollment TEXT NOT NULL,
    message TEXT NOT NULL,
    decision BLOB NOT NULL
);

CREATE INDEX journal_customer ON journal (customer);
CREATE INDEX journal_workflow ON journal (workflow) WHERE workflow <> '';

-- Outbox and ledger in one: a message is here from its decision on, exactly once.
CREATE TABLE ledger (
    number INTEGER PRIMARY KEY,
    message TEXT NOT NULL UNIQUE,
    customer TEXT NOT NULL,
    channel TEXT NOT NULL,
    lane TEXT NOT NULL,              -- channel:domain, what throttles go by
    priority INTEGER NOT NULL,
    status TEXT NOT NULL,
    scheduled INTEGER NOT NULL,      -- 1: not before not_before_ms
    not_before_ms INTEGER NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0,
    resends INTEGER NOT NULL DEFAULT 0,
    first_attempt_ms INTEGER NOT NULL DEFAULT 0,
    updated_ms INTEGER NOT NULL,
    reason TEXT NOT NULL DEFAULT '',
    code TEXT NOT NULL DEFAULT '',
    provider_id TEXT NOT NULL DEFAULT '',
    body BLOB NOT NULL
);

CREATE INDEX ledger_ready ON ledger (priority DESC, number, lane, channel) WHERE status = 'pending' AND scheduled = 0;
CREATE INDEX ledger_scheduled ON ledger (not_before_ms) WHERE status = 'pending' AND scheduled = 1;
CREATE INDEX ledger_claimed ON ledger (number) WHERE status = 'claimed';
CREATE INDEX ledger_customer ON ledger (customer);

CREATE TRIGGER ledger_counts_new AFTER INSERT ON ledger BEGIN
    INSERT INTO counters (name, part, value) VALUES ('message', NEW.channel || ':' || NEW.status, 1)
    ON CONFLICT (name, part) DO UPDATE SET value = value + 1;
END;

CREATE TRIGGER ledger_counts_change AFTER UPDATE OF status ON ledger WHEN OLD.status <> NEW.status BEGIN
    UPDATE counters SET value = value - 1 WHERE name = 'message' AND part = OLD.channel || ':' || OLD.status;
    INSERT INTO counters (name, part, value) VALUES ('message', NEW.channel || ':' || NEW.status, 1)
    ON CONFLICT (name, part) DO UPDATE SET value = value + 1;
END;

-- What was sent stays counted when its customer is erased; what waited does not.
CREATE TRIGGER ledger_counts_gone AFTER DELETE ON ledger WHEN OLD.status IN ('pending', 'claimed') BEGIN
    UPDATE counters SET value = value - 1 WHERE name = 'message' AND part = OLD.channel || ':' || OLD.status;
END;

-- Addresses nothing is sent to, as keyed hashes: they outlive the erasure of their customer.
CREATE TABLE suppressed_addresses (
    hash BLOB PRIMARY KEY,
    channel TEXT NOT NULL,
    reason TEXT NOT NULL,
    at_ms INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TABLE control (
    workflow TEXT PRIMARY KEY,
    paused INTEGER NOT NULL,
    at_ms INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TABLE dead_letters (
    number INTEGER PRIMARY KEY,
    at_ms INTEGER NOT NULL,
    origin TEXT NOT NULL,
    reason TEXT NOT NULL,
    customer TEXT NOT NULL,
    body BLOB NOT NULL
);

CREATE INDEX dead_letters_customer ON dead_letters (customer) WHERE customer <> '';

-- Records that other processes (the command line) hand to the running engine.
CREATE TABLE commands (
    number INTEGER PRIMARY KEY,
    record BLOB NOT NULL
);

-- Receipts of erasures. `customer` is emptied when the last row of the log has been looked at.
CREATE TABLE erasures (
    number INTEGER PRIMARY KEY,
    customer_hash BLOB NOT NULL,
    customer TEXT NOT NULL,
    requested_ms INTEGER NOT NULL,
    log_seq INTEGER NOT NULL,
    scanned_seq INTEGER NOT NULL,
    rows_removed INTEGER NOT NULL,
    finished_ms INTEGER NOT NULL DEFAULT 0
);

CREATE INDEX erasures_open ON erasures (number) WHERE finished_ms = 0;

-- Sources of every project that was deployed, so that versions in use can be compiled again. `files` is zlib'd JSON.
CREATE TABLE definitions (
    number INTEGER PRIMARY KEY,
    catalog TEXT NOT NULL UNIQUE,
    deployed_ms INTEGER NOT NULL,
    files BLOB NOT NULL
);

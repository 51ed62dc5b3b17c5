-- What was last said about each workflow: that it is paused, or goes on.
CREATE TABLE control (
    workflow TEXT NOT NULL PRIMARY KEY,
    paused BIGINT NOT NULL,
    at_ms BIGINT NOT NULL,
    reason TEXT NOT NULL
);

-- What each workflow did, by stretches of five minutes: what tells a blast from the usual. Counts only, nothing about a person.
CREATE TABLE pace (
    bucket_ms BIGINT NOT NULL,
    workflow TEXT NOT NULL,
    partition BIGINT NOT NULL,
    queued BIGINT NOT NULL,
    sent BIGINT NOT NULL,
    bounced BIGINT NOT NULL,
    complained BIGINT NOT NULL,
    PRIMARY KEY (bucket_ms, workflow, partition)
);

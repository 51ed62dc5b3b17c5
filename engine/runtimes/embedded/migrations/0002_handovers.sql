-- Deploys that another process (the command line) hands to the running engine, or to the next one that starts. `files` is zlib'd
-- JSON, file name to text: the definitions, and the templates they need. `answered_ms` 0: nobody has taken it yet; then either
-- `catalog` is what it became, or `problem` says why it was refused.
CREATE TABLE handovers (
    number INTEGER PRIMARY KEY,
    handed_ms INTEGER NOT NULL,
    versions TEXT NOT NULL,
    files BLOB NOT NULL,
    answered_ms INTEGER NOT NULL DEFAULT 0,
    catalog TEXT NOT NULL DEFAULT '',
    problem TEXT NOT NULL DEFAULT ''
);

CREATE INDEX handovers_open ON handovers (number) WHERE answered_ms = 0;

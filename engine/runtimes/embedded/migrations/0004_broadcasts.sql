-- Which subject won the test of a broadcast: `test` is workflow/issue/step. The first decision stays.
CREATE TABLE winners (
    number INTEGER PRIMARY KEY,
    test TEXT NOT NULL UNIQUE,
    variant TEXT NOT NULL,
    at_ms INTEGER NOT NULL
);

-- States asked, by number, whether they waited for a broadcast that goes on; -1: no walk is under way.
INSERT INTO progress (name, value) VALUES ('resume', -1);

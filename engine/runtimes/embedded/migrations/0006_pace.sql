-- Why a workflow was paused, or goes on.
ALTER TABLE control ADD COLUMN reason TEXT NOT NULL DEFAULT '';

-- What each workflow did, by stretches of five minutes: what tells a blast from the usual. Counts only, nothing about a person.
CREATE TABLE pace (
    bucket_ms INTEGER NOT NULL,
    workflow TEXT NOT NULL,
    queued INTEGER NOT NULL DEFAULT 0,
    sent INTEGER NOT NULL DEFAULT 0,
    bounced INTEGER NOT NULL DEFAULT 0,
    complained INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (bucket_ms, workflow)
) WITHOUT ROWID;

ALTER TABLE ledger ADD COLUMN workflow TEXT NOT NULL DEFAULT '';

CREATE TRIGGER ledger_pace AFTER UPDATE OF status ON ledger
WHEN NEW.status = 'sent' AND OLD.status <> 'sent' AND NEW.workflow <> '' BEGIN
    INSERT INTO pace (bucket_ms, workflow, sent) VALUES (NEW.updated_ms - NEW.updated_ms % 300000, NEW.workflow, 1)
    ON CONFLICT (bucket_ms, workflow) DO UPDATE SET sent = sent + 1;
END;

-- Since when a workflow is paused: what was due before is held. 0: it is suppressed as well, because somebody said so.
ALTER TABLE control ADD COLUMN since_ms INTEGER NOT NULL DEFAULT 0;
UPDATE control SET since_ms = at_ms WHERE paused = 1;

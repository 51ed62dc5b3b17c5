-- Tasks are read out of the journal, where they are few among many.
CREATE INDEX journal_tasks ON journal (kind, seq) WHERE kind IN ('task', 'task_assigned', 'task_done');

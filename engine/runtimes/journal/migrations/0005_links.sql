-- Where the tracked links of a message lead: JSON, key to address; '' for a message that is not tracked.
ALTER TABLE messages ADD COLUMN links TEXT NOT NULL DEFAULT '';

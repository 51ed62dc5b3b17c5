-- Where the tracked links of a message lead: JSON, key to address; '' for a message that is not tracked. Clicks are redirected
-- from here, so a later deploy of templates breaks no old mail.
ALTER TABLE ledger ADD COLUMN links TEXT NOT NULL DEFAULT '';

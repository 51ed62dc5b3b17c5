-- Who was written to at an address, and which message a provider speaks of. Addresses as `same_address` writes them; rows from
-- before have none until their message changes, or the database is filled anew.
ALTER TABLE messages ADD COLUMN address TEXT NOT NULL DEFAULT '';

CREATE INDEX messages_address ON messages (address) WHERE address <> '';
CREATE INDEX messages_provider ON messages (provider_id) WHERE provider_id <> '';

-- What a message is of, to be asked for without reading its body. Rows of earlier versions are filled in from the message that they
-- keep, the newest first, in small steps after the start: up to this number they are not yet.
ALTER TABLE ledger ADD COLUMN step TEXT NOT NULL DEFAULT '';
ALTER TABLE ledger ADD COLUMN template TEXT NOT NULL DEFAULT '';
ALTER TABLE ledger ADD COLUMN issue TEXT NOT NULL DEFAULT '';
ALTER TABLE ledger ADD COLUMN variant TEXT NOT NULL DEFAULT '';

INSERT INTO progress (name, value) SELECT 'unfilled', coalesce(max(number), 0) FROM ledger;

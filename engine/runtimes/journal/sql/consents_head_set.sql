INSERT INTO consent_head (one, number, hash) VALUES (1, :number, :hash)
ON CONFLICT (one) DO UPDATE SET number = excluded.number, hash = excluded.hash

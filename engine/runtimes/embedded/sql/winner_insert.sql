INSERT INTO winners (test, variant, at_ms) VALUES (?, ?, ?) ON CONFLICT (test) DO NOTHING

INSERT INTO consents (number, log_seq, record, customer, purpose, channel, action, basis, address, source, at_ms, recorded_ms, requested_ms, proof, erased_ms, salt, seal, hidden, prev, hash)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (record) DO NOTHING

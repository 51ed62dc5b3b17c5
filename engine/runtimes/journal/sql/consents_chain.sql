SELECT number, partition, log_offset, record, customer, purpose, channel, action, basis, address, source, at_ms, recorded_ms,
    requested_ms, proof, erased_ms, salt, seal, hidden, prev, hash FROM consents WHERE number > :after
UNION ALL SELECT number, 0, 0, '', '', '', '', '', '', '', '', 0, 0, 0, '', erased_ms, '', '', '', prev, hash
    FROM consent_gone WHERE number > :after
ORDER BY number LIMIT :limit

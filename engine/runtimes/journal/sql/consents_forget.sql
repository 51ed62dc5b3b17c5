SELECT record, customer, purpose, channel, action, basis, address, source, at_ms, recorded_ms, requested_ms, proof, erased_ms, hidden FROM consents
WHERE customer = :customer AND partition = :partition AND log_offset <= :log_offset AND erased_ms = 0

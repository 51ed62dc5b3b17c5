SELECT record, customer, purpose, channel, action, basis, address, source, at_ms, recorded_ms, requested_ms, proof, erased_ms FROM consents
WHERE customer = :customer ORDER BY number LIMIT :limit

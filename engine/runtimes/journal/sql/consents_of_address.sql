SELECT record, customer, purpose, channel, action, basis, address, source, at_ms, recorded_ms, requested_ms, proof, erased_ms FROM consents
WHERE address IN @texts(addresses) ORDER BY number LIMIT :limit

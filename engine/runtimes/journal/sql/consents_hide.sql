UPDATE consents SET record = :hidden, customer = :customer, address = :address, proof = :proof, erased_ms = :erased_ms, salt = ''
WHERE record = :record RETURNING number

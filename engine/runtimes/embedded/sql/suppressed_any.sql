SELECT EXISTS (SELECT 1 FROM suppressed_addresses)

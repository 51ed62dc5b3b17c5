SELECT EXISTS (SELECT 1 FROM suppressed_addresses) OR EXISTS (SELECT 1 FROM erasures)
    OR EXISTS (SELECT 1 FROM consents WHERE erased_ms > 0)

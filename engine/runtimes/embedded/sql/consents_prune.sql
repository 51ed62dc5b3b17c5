DELETE FROM consents WHERE erased_ms > 0 AND erased_ms < :before_ms AND number IN (SELECT number FROM consent_gone)

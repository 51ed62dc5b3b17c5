INSERT INTO suppressed_addresses (hash, channel, reason, at_ms) VALUES (?1, ?2, ?3, ?4)
ON CONFLICT (hash) DO UPDATE SET reason = excluded.reason, at_ms = excluded.at_ms
WHERE (excluded.reason = 'bounced') < (reason = 'bounced')
    OR ((excluded.reason = 'bounced') = (reason = 'bounced') AND excluded.at_ms >= at_ms)

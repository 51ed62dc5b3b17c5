-- Added to those of an earlier attempt, whose mail may have arrived.
UPDATE ledger SET links = json_patch(CASE links WHEN '' THEN '{}' ELSE links END, :links) WHERE message = :message

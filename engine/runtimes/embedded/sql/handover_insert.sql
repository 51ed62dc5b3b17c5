INSERT INTO handovers (handed_ms, versions, files) VALUES (:handed_ms, :versions, :files) RETURNING number

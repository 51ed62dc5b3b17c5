SELECT number, versions, files FROM handovers WHERE answered_ms = 0 ORDER BY number DESC LIMIT 1

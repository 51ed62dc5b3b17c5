SELECT number, '', files FROM handovers WHERE answered_ms = 0 ORDER BY number

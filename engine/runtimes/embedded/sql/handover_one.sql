SELECT answered_ms, catalog, problem FROM handovers WHERE number = :number

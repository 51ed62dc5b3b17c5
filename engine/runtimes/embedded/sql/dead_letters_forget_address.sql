DELETE FROM dead_letters WHERE customer = '' AND instr(lower(CAST(body AS TEXT)), :address) > 0

DELETE FROM handovers WHERE number = :key

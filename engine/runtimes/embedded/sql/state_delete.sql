DELETE FROM states WHERE number = ?

DELETE FROM commands WHERE number = ?

UPDATE states SET due_ms = ?, state = ? WHERE number = ?

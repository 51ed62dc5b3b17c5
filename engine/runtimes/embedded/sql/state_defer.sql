UPDATE states SET due_ms = ? WHERE number = ?

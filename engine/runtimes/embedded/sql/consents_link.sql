UPDATE consents SET salt = ?, seal = ?, hidden = ?, prev = ?, hash = ? WHERE number = ?

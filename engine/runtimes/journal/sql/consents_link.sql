UPDATE consents SET salt = :salt, seal = :seal, hidden = :hidden, prev = :prev, hash = :hash WHERE number = :number

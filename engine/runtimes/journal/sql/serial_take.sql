UPDATE serials SET value = value + :count WHERE name = :name RETURNING value

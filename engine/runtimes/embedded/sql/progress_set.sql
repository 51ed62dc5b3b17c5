UPDATE progress SET value = :value, note = :note WHERE name = :name

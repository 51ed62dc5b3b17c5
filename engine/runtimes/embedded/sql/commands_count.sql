SELECT count(*) FROM commands

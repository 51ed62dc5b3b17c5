INSERT INTO commands (record) VALUES (?)

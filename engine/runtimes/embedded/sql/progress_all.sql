SELECT name, value, note FROM progress

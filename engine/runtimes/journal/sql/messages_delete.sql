DELETE FROM messages WHERE message IN @texts(messages)

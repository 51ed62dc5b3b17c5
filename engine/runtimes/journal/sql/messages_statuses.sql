SELECT message, status, updated_ms FROM messages WHERE message IN @texts(messages)

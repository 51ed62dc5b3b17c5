SELECT message, version, channel, status, number, workflow, updated_ms FROM messages WHERE message IN @texts(messages)

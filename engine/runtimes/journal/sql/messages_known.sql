SELECT message, version, channel, status, number FROM messages WHERE message IN @texts(messages)

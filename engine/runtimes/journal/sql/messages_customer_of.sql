SELECT customer FROM messages WHERE message = :message

SELECT identity FROM dead_letters WHERE identity IN @texts(identities)

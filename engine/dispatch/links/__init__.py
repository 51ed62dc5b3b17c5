"""The links of a message: found, sealed, tracked. Invariant: a token opens the one door that it was made for."""

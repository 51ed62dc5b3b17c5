"""What works beside the main parts all the time. Invariant: a watch changes things only by writing records."""

"""What values from outside mean: one reader for each kind (times, days, numbers, countries, zones, languages, addresses, names).

Every other place that meets such a value asks here, so that intake, expressions, templates and files read it alike.
Invariant: pure and total. A reader gives the value in its one canonical form, which reads as itself, or says why not; it
never guesses between two readings, and its reasons never repeat the value.
"""

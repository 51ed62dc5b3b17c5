"""The distributed runtime: Faust on Kafka, many processes. Invariant: the changelog says what is true, disks are copies of it."""

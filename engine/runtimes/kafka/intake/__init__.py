"""The way into Kafka: records of customers, and whole batches of a process.

Invariant: all replicas have what was answered for.
"""

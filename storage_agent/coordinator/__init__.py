"""The client library of pairs of storage hosts, and what `storage-coordinator` is made of.

`Fleet` holds one SSH connection to each host and speaks the agents' JSON-RPC; `Store` is the
durable record of epochs and grants; `arbiter` decides, purely; `switchover`, `failover` and `watch`
act. Imports `model` and the reading part of `configuration`, nothing else of ours.
"""

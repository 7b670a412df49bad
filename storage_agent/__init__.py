"""storage-agent: safe operation of md RAID, DRBD and NFS on a pair of storage hosts."""

__version__ = "0.1.0"

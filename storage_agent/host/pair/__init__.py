"""What the two hosts' agents tell each other over the replication link, and nothing else."""

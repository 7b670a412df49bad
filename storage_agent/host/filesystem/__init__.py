"""Filesystems and mounts: what there is, who holds it, what it can take."""

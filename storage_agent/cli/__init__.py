"""The local command `storage-agent`: it parses, asks the daemon, and shows the answer."""

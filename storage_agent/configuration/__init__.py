"""Loading and checking /etc/storage-agent. Imports model only; nothing here starts a process."""

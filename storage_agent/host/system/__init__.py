"""The operating system: processes, files, time, services."""

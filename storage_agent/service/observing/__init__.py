"""What the host is: looked at when something may have changed, and kept."""

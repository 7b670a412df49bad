"""Block devices: what is attached, and word of each change."""

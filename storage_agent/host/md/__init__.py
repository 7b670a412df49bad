"""md: arrays, their members and what lies on their disks."""

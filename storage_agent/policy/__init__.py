"""Pure decisions: what was observed goes in, findings come out. No I/O, no clock."""

"""Pure planners: what was asked and what was observed go in, an ordered plan comes out."""

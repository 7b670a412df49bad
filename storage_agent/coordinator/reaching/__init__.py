"""How hosts are reached: ssh, pinned keys, one session after the other."""

"""The storage host's end of SSH: the program behind the forced command."""

"""The command `storage-coordinator`: asks the library, renders what it answers."""

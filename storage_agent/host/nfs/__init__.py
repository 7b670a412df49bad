"""The kernel's NFS server and the address that it is reached by."""

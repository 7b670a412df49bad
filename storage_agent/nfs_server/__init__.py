"""One NFS server per volume (design: docs/architecture.md): the supervisor process that holds its
namespaces, run by systemd as storage-agent-nfs@VOLUME, and the daemon's way to talk to it."""

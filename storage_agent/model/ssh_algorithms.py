"""What a coordinator's SSH may use, best first, and what of it each paramiko has.

The coordinator offers of it what its paramiko has; doctor looks whether a host's sshd takes any.
No CBC, SHA-1, MD5 or DSA. A MAC over what is encrypted (ETM) with CTR is in Terrapin's reach
(CVE-2023-48795) by the book alone: what is left out there shifts the key stream, and the connection
ends (Baeumer, Brinkmann, Schwenk 2023, section 5). So it comes last, for hosts that have no other;
paramiko since 3.4 and OpenSSH since 9.6 shut that by their strict key exchange.
"""

from __future__ import annotations

# Debian 12 has paramiko 2.12, which has all but the first two; GCM came with 3.5.
SINCE_3_5 = ("aes256-gcm@openssh.com", "aes128-gcm@openssh.com")
CIPHERS = (*SINCE_3_5, "aes256-ctr", "aes192-ctr", "aes128-ctr")
MACS = (
    "hmac-sha2-512",
    "hmac-sha2-256",
    "hmac-sha2-512-etm@openssh.com",
    "hmac-sha2-256-etm@openssh.com",
)
# No group exchange: its group is the server's choice.
KEX = (
    "curve25519-sha256",
    "curve25519-sha256@libssh.org",
    "ecdh-sha2-nistp521",
    "ecdh-sha2-nistp384",
    "ecdh-sha2-nistp256",
    "diffie-hellman-group16-sha512",
    "diffie-hellman-group14-sha256",
)
# Of paramiko 2.12 alone: the other name of the first came later.
KEX_SINCE_3 = ("curve25519-sha256",)
HOST_KEYS = (
    "ssh-ed25519",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "rsa-sha2-512",
    "rsa-sha2-256",
)
# sshd_config(5)'s name of each list -> what a coordinator may use, and what every one has.
BY_OPTION = {
    "Ciphers": (CIPHERS, tuple(c for c in CIPHERS if c not in SINCE_3_5)),
    "MACs": (MACS, MACS),
    "KexAlgorithms": (KEX, tuple(k for k in KEX if k not in KEX_SINCE_3)),
    "HostKeyAlgorithms": (HOST_KEYS, HOST_KEYS),
    "PubkeyAcceptedAlgorithms": (HOST_KEYS, HOST_KEYS),
}

"""A lab of real kernels: two storage hosts and an NFS client as QEMU guests, without KVM or root.

`Lab` (lab.py) is the whole of it: start, snapshot and restore the set, cut links, move disks, pull
the power, run commands in guests. Host tools: qemu-system-x86_64, qemu-img, vde_switch, ssh,
mmdebstrap, mkfs.ext4. See docs/lab.md.
"""

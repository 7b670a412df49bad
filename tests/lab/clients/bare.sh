#!/bin/sh
# What an admin would type to move the volume without storage-agent, with clients' locks kept:
# nfsd's client records travel on the volume, and nfsd has the same UTS name on both hosts.
# Only for the comparison of scripts/bench.
#
# usage: bare.sh take|release ADDRESS
set -eu
address=$2
state=/srv/data/.bare

case $1 in
take)
    drbdadm primary data
    mount /dev/drbd0 /srv/data
    mkdir -p $state/nfsdcld $state/v4recovery $state/sm $state/sm.bak
    touch $state/etab $state/rmtab
    mount --bind $state /var/lib/nfs
    mountpoint -q /proc/fs/nfsd || mount -t nfsd nfsd /proc/fs/nfsd
    mountpoint -q /run/rpc_pipefs || mount -t rpc_pipefs rpc_pipefs /run/rpc_pipefs
    nfsdcld
    rpc.mountd -N 2 -N 3
    exportfs -o rw,sync,no_subtree_check,no_root_squash,fsid=1 '*:/srv/data'
    unshare --uts sh -c 'hostname data && rpc.nfsd -N 3 8'
    ip address add "$address/24" dev eth2
    arping -q -U -c 1 -I eth2 "$address"
    ;;
release)
    ip address delete "$address/24" dev eth2
    rpc.nfsd 0
    exportfs -ua
    pkill -x rpc.mountd
    pkill -x nfsdcld
    umount /var/lib/nfs
    umount /srv/data
    drbdadm secondary data
    ;;
esac

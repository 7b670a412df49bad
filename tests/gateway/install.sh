#!/bin/sh
# Makes this mount namespace a storage host: the package's files in their places, over Debian's own,
# without touching the machine. Arguments: the project's root, a folder for what is written.
set -eu
root=$1 work=$2

overlay() { # overlay FOLDER
    mkdir -p "$work/$1/upper" "$work/$1/work"
    mount -t overlay overlay -o "lowerdir=/$1,upperdir=$work/$1/upper,workdir=$work/$1/work" "/$1"
}

mount -t tmpfs -o mode=0755 tmpfs "$work"
overlay etc
overlay usr/lib
mount -t tmpfs -o mode=0755 tmpfs /run
mkdir -m 0755 /run/sshd /run/storage-agent
# A /dev of its own: /dev/log is where syslog(3) goes.
mount -t tmpfs -o mode=0755 tmpfs /dev
for device in null:1:3 zero:1:5 full:1:7 random:1:8 urandom:1:9 tty:5:0; do
    number=${device#*:}
    mknod -m 0666 "/dev/${device%%:*}" c "${number%:*}" "${number#*:}"
done
mkdir /dev/pts /dev/shm
mount -t devpts -o newinstance,ptmxmode=0666 devpts /dev/pts
ln -s pts/ptmx /dev/ptmx

# What debian/storage-agent.install and dh_python3 do.
rm -rf /usr/lib/python3/dist-packages/storage_agent
cp -r "$root/storage_agent" /usr/lib/python3/dist-packages/
python3 -m compileall -q /usr/lib/python3/dist-packages/storage_agent
mkdir -p /usr/lib/storage-agent /etc/storage-agent/agent.d /etc/ssh/sshd_config.d
install -m 0755 "$root"/libexec/* /usr/lib/storage-agent/
install -m 0644 "$root/debian/sshd_config.d/storage-agent.conf" /etc/ssh/sshd_config.d/
systemd-sysusers "$root/debian/storage-agent.sysusers"
usermod -p '*' storage-agent
chown -R root:root /etc/storage-agent /usr/lib/storage-agent

echo installed
exec sleep infinity

#!/bin/sh
# Installs a package for real, runs its command, removes and purges it, on this machine's packages
# but in layers of its own over /etc, /usr, /var and /run: nothing of it is left.
# Run in a mount namespace. usage: try-package.sh FOLDER DEB NAME
set -eu
work=$1 deb=$2 name=$3
export PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive

mount -t tmpfs tmpfs "$work"
cp "$deb" "$work/package.deb"
for folder in etc usr var; do
    mkdir -p "$work/$folder/upper" "$work/$folder/work"
    mount -t overlay overlay \
        -o "lowerdir=/$folder,upperdir=$work/$folder/upper,workdir=$work/$folder/work" "/$folder"
done
mount -t tmpfs tmpfs /run
cd /

named() { # every file of that name
    find /etc /usr /var /run -xdev -path "*$name*" | sort
}

echo "-- before"
named
dpkg --install "$work/package.deb" >&2
echo "-- modules"
/usr/bin/python3 -I -c 'import storage_agent' 2>&1 | tail -n 1
echo "-- version"
"/usr/bin/$name" --version
# What is written while it is used.
mkdir -p "/var/lib/$name" "/run/$name"
touch "/var/lib/$name/record" "/run/$name/boot" "/etc/$name/known_hosts" "/etc/$name/id_ed25519"
dpkg --remove "$name" >&2
echo "-- removed"
named
dpkg --purge "$name" >&2
echo "-- purged"
named
dpkg-query --show "$name" 2>&1 || true

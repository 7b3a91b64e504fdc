#!/usr/bin/env bash
# kernel.sh 6.1|6.12|7.2|6.12-arm64 FOLDER: Debian's newest kernel of that line, fetched and unpacked
# into FOLDER: vmlinux, as QEMU boots it, busybox, and version. Nothing is installed, and what stands
# there stays.
# The archive is the one that this machine's apt uses; apt's state for it is kept beside FOLDER.
set -euo pipefail

line=$1 folder=$2 arch=amd64
case $line in
6.1) suite=bookworm ;;
6.12) suite=trixie ;;
6.12-arm64) suite=trixie arch=arm64 ;;
7.2) suite=sid ;;
*)
	echo "kernel.sh: no kernel $line; there are 6.1, 6.12, 7.2, 6.12-arm64" >&2
	exit 2
	;;
esac
[ ! -s "$folder/version" ] || [ ! -s "$folder/busybox" ] || exit 0

state=$(dirname "$folder")/apt/$suite-$arch
mkdir -p "$state/lists/partial" "$state/cache/archives/partial"
state=$(realpath "$state")
work=$(mktemp -d "$(dirname "$folder")/unpack.XXXXXX")
work=$(realpath "$work")
trap 'rm -rf "$work"' EXIT

archive=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' |
	grep -v security | grep -m 1 '/debian/*$') || {
	echo "kernel.sh: apt's sources name no archive of Debian" >&2
	exit 2
}
keys=/usr/share/keyrings/debian-archive-keyring.gpg
echo "deb [signed-by=$keys] $archive $suite main" >"$state/sources.list"
options=(-q -o "APT::Architecture=$arch" -o "APT::Architectures=$arch" -o "Dir::Etc::sourcelist=$state/sources.list" -o Dir::Etc::sourceparts=-
	-o "Dir::State::lists=$state/lists" -o "Dir::Cache=$state/cache"
	-o APT::Sandbox::User=root -o Debug::NoLocking=1)

# The packages that PACKAGE depends on and whose names match PATTERN.
needs() {
	apt-cache "${options[@]}" depends "$1" | sed -n "s/.*Depends: \\($2\\).*/\\1/p"
}

apt-get "${options[@]}" update
image=$(needs "linux-image-$arch" 'linux-image-[0-9].*' | head -n 1)
# From 7.x on the image package is empty; the kernel itself is in another one.
binary=$(needs "${image:?}" 'linux-binary-[0-9].*')
(cd "$work" && apt-get "${options[@]}" download "${binary:-$image}" busybox-static)
for package in "$work"/*.deb; do dpkg -x "$package" "$work/files"; done
packed=$(find "$work/files" -name 'vmlinuz*' -type f | head -n 1)

# The ELF file inside: it boots without a BIOS and without unpacking itself under emulation.
mkdir "$work/out"
cp "$work"/files/bin/busybox "$work/out/" 2>/dev/null || cp "$work"/files/usr/bin/busybox "$work/out/"
if [ $arch = arm64 ]; then
	cp "${packed:?}" "$work/out/vmlinux"
else
	python3 - "${packed:?}" "$work/out/vmlinux" <<'END'
import subprocess, sys

data = open(sys.argv[1], "rb").read()
for magic, unpack in ((b"\x28\xb5\x2f\xfd", "zstd"), (b"\xfd7zXZ\0", "xz"), (b"\x1f\x8b\x08", "gzip")):
    at = data.find(magic)
    while at >= 0:
        done = subprocess.run([unpack, "-dc"], input=data[at:], capture_output=True)
        if done.stdout[:4] == b"\x7fELF" and len(done.stdout) > 1 << 20:
            open(sys.argv[2], "wb").write(done.stdout)
            sys.exit()
        at = data.find(magic, at + 1)
sys.exit("kernel.sh: no ELF file in " + sys.argv[1])
END
fi
echo "${image#linux-image-}" >"$work/out/version"
rm -rf "$folder"
mv "$work/out" "$folder"

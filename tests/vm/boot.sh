#!/usr/bin/env bash
# boot.sh KERNEL-FOLDER ROOT-FOLDER LOG-FOLDER LIMIT-SECONDS: starts a machine under emulation with
# that kernel and that root, and waits for it to switch itself off. Leaves out.log, the second serial
# port, and serial.log, the console.
set -euo pipefail

kernel=$1 root=$2 logs=$3 limit=$4

(cd "$root" && find . -print0 | cpio -0 -o -H newc --quiet -R 0:0) | gzip -1 >"$logs/root.gz"
arguments="panic=-1 quiet loglevel=4 mitigations=off random.trust_cpu=1 nowatchdog"
case $kernel in
*-arm64) # has one serial port: what the kernel says stands between what the programs say
	machine=(qemu-system-aarch64 -M virt -serial "file:$logs/out.log")
	arguments+=" console=ttyAMA0"
	ln -sf out.log "$logs/serial.log"
	;;
*)
	machine=(qemu-system-x86_64 -M q35 -serial "file:$logs/serial.log" -serial "file:$logs/out.log")
	arguments+=" console=ttyS0 tsc=reliable"
	;;
esac
timeout -k 5 "$limit" "${machine[@]}" -nodefaults -no-reboot -display none \
	-accel tcg,thread=multi -cpu max -smp 2 -m 2048 \
	-kernel "$kernel/vmlinux" -initrd "$logs/root.gz" -append "$arguments" \
	</dev/null >"$logs/qemu.log" 2>&1 || echo "qemu ended with $?" >>"$logs/qemu.log"
rm -f "$logs/root.gz"

#!/usr/bin/env bash
# run.sh [--kernel 6.1|6.12|7.2|6.12-arm64]... [NAME]: the tests on kernels other than this machine's,
# each booted once under emulation; without --kernel the first three. NAME: only programs or tests whose
# name contains it. Expects the dev build; for arm64 the aarch64 one.
# Ends with "N passed, N failed, N skipped"; kernels and logs stay in build-vm/.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

# A program's bound is patience: an emulated machine that shares two cores with others is slow.
program_limit=900
boot_limit=5400
complaint='BUG:|WARNING: |KFENCE|Oops|general protection|UBSAN|Kernel panic|hung task|soft lockup|rcu.*stall'

die() {
	echo "tests/vm: $*" >&2
	exit 2
}

kernels=() filter=
while [ $# -gt 0 ]; do
	case $1 in
	--kernel)
		kernels+=("${2:?tests/vm: --kernel needs one of 6.1, 6.12, 7.2, 6.12-arm64}")
		shift
		;;
	-*) die "unknown option $1; usage: ./dev vm [--kernel 6.1|6.12|7.2|6.12-arm64] [NAME]" ;;
	*) filter=$1 ;;
	esac
	shift
done
[ ${#kernels[@]} -gt 0 ] || kernels=(6.1 6.12 7.2)

# build_of KERNEL
build_of() {
	case $1 in
	*-arm64) echo "$PWD/build-aarch64" ;;
	*) echo "$PWD/build-dev" ;;
	esac
}

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# add FILE [PLACE]: FILE into the guest, at the same place or at PLACE, with the libraries it needs.
add() {
	local place=${2:-$1} library
	mkdir -p "$root$(dirname "$place")"
	cp -L "$1" "$root$place"
	while read -r library; do
		[ -e "$root$library" ] || add "$library"
	done < <(ldd "$1" 2>/dev/null | grep -o '/[^ ]*')
}

# The guest's files, for an ordinary user, whose locked memory is limited: one shell, the test
# programs and what they start, and the plan.
make_root() {
	local kernel=$1 build folder name command library
	build=$(build_of "$kernel")
	[ -f "$build/tests.list" ] || die "there is no $build; ./dev vm makes it"
	root=$work/root
	rm -rf "$root"
	mkdir -p "$root/bin" "$root/lib"
	cp "build-vm/kernel-$kernel/busybox" "$root/bin/"
	if [ "$build" != "$(build_of here)" ]; then # a cross build: ldd cannot tell what it needs
		for library in /usr/aarch64-linux-gnu/lib/{ld-linux-aarch64,libc,libm,libgcc_s}.so.*; do
			cp -L "$library" "$root/lib/"
		done
	fi
	cp tests/vm/init "$root/init"
	ln -s busybox "$root/bin/sh"
	mkdir -p "$root/etc"
	printf 'root:x:0:0::/:/bin/sh\nnobody:x:65534:65534::/:/bin/sh\n' >"$root/etc/passwd"
	printf '127.0.0.1 localhost\n::1 localhost\n' >"$root/etc/hosts"
	echo 'hosts: files' >"$root/etc/nsswitch.conf"
	: >"$work/plan"
	while IFS=$'\t' read -r folder name command; do
		[[ $folder = unit || $folder = e2e ]] && [[ $name = test_* ]] || continue
		add "$build/tests/$folder/$name" "/ringline/$folder/$name"
		command=/ringline/$folder/$name
		[ $name != test_conformance ] || command="RINGLINE_ROUNDS=5 $command"
		if [[ $folder/$name != *"$filter"* ]]; then
			"$(build_of here)/tests/$folder/$name" -l | grep -qF -- "$filter" || continue
			command+=" $filter"
		fi
		command="su -s /bin/sh nobody -c '$command'"
		printf '%s/%s\t%s\t%s\n' "$folder" "$name" "$program_limit" "$command" >>"$work/plan"
	done <"$build/tests.list"
	if [[ vm/tool == *"$filter"* ]]; then
		add "$build/bin/ringline" /ringline/vm/ringline
		add tests/vm/tool.sh /ringline/vm/tool.sh
		printf 'vm/tool\t%s\tsh /ringline/vm/tool.sh\n' "$program_limit" >>"$work/plan"
	fi
	[ -s "$work/plan" ] || die "no test matches '$filter'"
	cp "$work/plan" "$root/ringline/plan"
}

passed=0 failed=0 skipped=0

# Judge one kernel's logs: a line for each program that did not simply pass, then the sum.
judge() {
	local kernel=$1 logs=$2 seconds=$3 name limit command line p=0 f=0 s=0 bad
	tr -d '\r' <"$logs/out.log" >"$logs/out.txt"
	while IFS=$'\t' read -r name limit command; do
		awk -v n="$name" '$1 == "@begin" { on = $2 == n; next }
			$1 == "@end" { if (on) print; on = 0 } on' "$logs/out.txt" >"$work/one"
		line=$(grep -E '^[0-9]+ passed, [0-9]+ failed, [0-9]+ skipped$' "$work/one" | tail -n 1) || true
		if [ -z "$line" ]; then
			echo "$name ended early: $(grep -m 1 '^@end' "$work/one" || echo 'the machine stopped')" >>"$work/one"
			line="0 passed, 1 failed, 0 skipped"
		fi
		[[ $line == *" 0 failed"* ]] || {
			echo "FAIL $kernel $name: $line"
			sed 's/^/     | /' "$work/one"
		}
		awk -v what="$kernel $name" '/^  skipped: / { why = substr($0, 12) }
			/^skip / { print "skip " what " " $2 ": " why }' "$work/one"
		set -- $line
		p=$((p + $1)) f=$((f + $3)) s=$((s + $5))
	done <"$work/plan"
	bad=$(grep -acE "$complaint" "$logs/serial.log") || true
	[ "$bad" = 0 ] || {
		echo "FAIL $kernel: the kernel complained"
		grep -aE "$complaint" "$logs/serial.log" | head -n 20 | sed 's/^/     | /'
		f=$((f + 1))
	}
	grep -q '^@done' "$logs/out.txt" || {
		echo "FAIL $kernel: the machine did not finish"
		tail -n 20 "$logs/serial.log" "$logs/qemu.log" | sed 's/^/     | /'
		f=$((f + 1))
	}
	echo "$kernel ($(sed -n 's/^@boot //p' "$logs/out.txt")): $p passed, $f failed, $s skipped," \
		"$bad kernel complaints, $seconds s"
	passed=$((passed + p)) failed=$((failed + f)) skipped=$((skipped + s))
}

for kernel in "${kernels[@]}"; do
	folder=build-vm/kernel-$kernel logs=build-vm/logs-$kernel
	mkdir -p "$logs"
	rm -f "$logs"/*
	bash tests/vm/kernel.sh "$kernel" "$folder" >"$logs/fetch.log" 2>&1 || {
		cat "$logs/fetch.log" >&2
		die "could not get kernel $kernel"
	}
	make_root "$kernel"
	echo "== $kernel: $(cat "$folder/version")"
	begin=$SECONDS
	# The emulator at times trips over a kernel that patches itself while it boots: not our subject.
	for try in 1 2 3; do
		bash tests/vm/boot.sh "$folder" "$work/root" "$logs" $boot_limit
		! grep -q '^@boot' "$logs/out.log" || break
		echo "$kernel did not boot (try $try)"
		cp "$logs/serial.log" "$logs/serial-$try.log"
	done
	judge "$kernel" "$logs" $((SECONDS - begin))
done
if grep -q test_conformance "$work/plan"; then
	outputs=()
	for kernel in "${kernels[@]}"; do
		outputs+=("${kernel%-*}" "build-vm/logs-$kernel/out.txt")
	done
	bash tests/vm/conformance.sh "${outputs[@]}" >"$work/one" || failed=$((failed + 1))
	grep -v ' passed, ' "$work/one"
fi
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" = 0 ]

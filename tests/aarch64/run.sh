#!/usr/bin/env bash
# The task switch for 64-bit ARM, built by the cross compiler in several ways and run under user
# emulation. Ends with "N passed, N failed, N skipped".
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

cc=${AARCH64_CC:-aarch64-linux-gnu-gcc}
emulator=${AARCH64_EMULATOR:-qemu-aarch64}
for tool in "$cc" "$emulator"; do
	if ! command -v "$tool" >/dev/null; then
		echo "skip aarch64: $tool is not installed"
		echo "0 passed, 0 failed, 1 skipped"
		exit 77
	fi
done

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
passed=0 failed=0 skipped=0

run() {
	local name="test_switch $*" out
	if ! "$cc" -static -std=gnu17 -D_GNU_SOURCE= -Wall -Wextra -Werror -g -Iinclude -Isrc -Itests "$@" \
		-o "$dir/test_switch" tests/test.c tests/unit/test_switch.c \
		tests/unit/switch_regs_aarch64.S src/task/switch_aarch64.S -lm; then
		echo "FAIL $name: does not build"
		failed=$((failed + 1))
		return
	fi
	echo "# $name"
	out=$("$emulator" "$dir/test_switch" 2>&1) || true
	echo "$out"
	if [[ $out =~ ([0-9]+)\ passed,\ ([0-9]+)\ failed,\ ([0-9]+)\ skipped$ ]]; then
		passed=$((passed + BASH_REMATCH[1]))
		failed=$((failed + BASH_REMATCH[2]))
		skipped=$((skipped + BASH_REMATCH[3]))
	else
		failed=$((failed + 1))
	fi
}

run -O0
run -O2
run -O3 -fomit-frame-pointer
run -O2 -mbranch-protection=standard

echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" = 0 ]

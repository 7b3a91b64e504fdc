#!/usr/bin/env bash
# conformance.sh [KERNEL OUTPUT]...: what test_conformance said on real kernels (6.1, 6.12, 7.2 and this
# machine's) against what the simulated kernel did as that version in its first 10,000 seeds. A real
# outcome that the simulator never had is a failure. What only the simulator had is listed in
# build-vm/unwitnessed.txt. Ends with "N passed, N failed, N skipped": outcomes, outside, rows not run.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

sim=build-vm/conformance-sim.txt
program=build-dev/tests/sim/test_conformance_sim
[ "$sim" -nt $program ] || {
	# What is so rare that the table lacks it is said, and stands in the list below.
	RINGLINE_SEEDS=10000 $program >"$sim.new" 2>"$sim.rare" || cat "$sim.rare"
	tail -n 3 "$sim.new" | grep -q '^outcome of 7.2' || {
		echo "FAIL conformance: the simulator did not end"
		exit 1
	}
	mv "$sim.new" "$sim"
}

# The version of the simulator that stands for this machine's kernel.
here() {
	case $(uname -r) in
	6.[0-9].* | 6.10.* | 6.11.*) echo 6.1 ;;
	6.12.*) echo 6.12 ;;
	6.*) echo 6.18 ;;
	*) echo 7.2 ;;
	esac
}

RINGLINE_ROUNDS=5 build-dev/tests/unit/test_conformance >build-vm/conformance-here.txt 2>&1 || true
set -- "$@" "$(here)" build-vm/conformance-here.txt
real=build-vm/conformance-real.txt
: >$real
while [ $# -gt 0 ]; do
	tr -d '\r' <"$2" | sed -n "s/^outcome /outcome of $1 /p" >>$real
	shift 2
done

awk -v list=build-vm/unwitnessed.txt '
	FNR == 1 { file++ }
	!/^outcome of / || seen[file, $0]++ { next }
	{
		version = $3
		what = $0
		sub(/^outcome of [^ ]* /, "", what)
		row = what
		sub(/:.*/, "", row)
	}
	file == 1 { sim[version, what] = 1; rows[row] = 1; next }
	{
		witness[what] = 1
		count[version]++
		ran[version, row] = 1
		if (!((version, what) in sim)) {
			print "FAIL conformance " version " " what ": never in the simulator"
			outside[version]++
		}
	}
	END {
		for (r in rows)
			n++
		for (v in count) {
			skipped = 0
			for (r in rows)
				skipped += !((v, r) in ran)
			line[v] = sprintf("conformance %s: %d sequences, %d not there, %d outcomes, %d outside the simulator",
				v, n, skipped, count[v], outside[v])
			good += count[v] - outside[v]
			bad += outside[v]
			absent += skipped
		}
		split("6.1 6.12 6.18 7.2", order, " ")
		for (i = 1; i <= 4; i++)
			if (order[i] in line)
				print line[order[i]]
		for (key in sim) {
			split(key, part, SUBSEP)
			if (!(part[2] in witness))
				alone[part[2]] = 1
		}
		for (what in alone) {
			lonely++
			print what | "sort >" list
		}
		printf "conformance: %d outcomes of the simulator without a real witness (%s)\n", lonely, list
		printf "%d passed, %d failed, %d skipped\n", good, bad, absent
		exit bad > 0
	}' "$sim" $real

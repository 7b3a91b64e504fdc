#!/usr/bin/env bash
# The programs in docs/guide: the C of a page that says its pieces "are one program", built and run,
# prints what the page says it prints.
. "$(dirname "$0")/lib_tool.sh"
source=${RINGLINE_SOURCE:-$(dirname "$0")/../..}

# blocks LANGUAGE PAGE: the text of its fenced blocks of that language
blocks() {
	awk -v begin="\`\`\`$1" '$0 == begin { show = 1; next } $0 == "```" { show = 0 } show' "$2"
}

tried=0
for page in "$source"/docs/guide/*.md; do
	name=$(basename "$page" .md)
	grep -q 'are one program' "$page" || continue
	blocks c "$page" >"$work/$name.c"
	tried=$((tried + 1))
	# What the library was built with, so that a sanitized one links.
	sanitize=$(sed -n 's/^RINGLINE_SANITIZE:STRING=\(..*\)/-fsanitize=\1/p' "$build/CMakeCache.txt")
	check "$name: builds without a warning" "${CC:-cc}" -std=gnu17 -Wall -Wextra -Werror -g \
		-fstack-clash-protection ${sanitize:+"$sanitize"} -I "$source/include" \
		"$work/$name.c" -o "$work/$name" "$build/libringline.a" -pthread
	run "$work/$name"
	is "$name: status" 0 "$status"
	is "$name: what it prints" "$(blocks text "$page")" "$out"
done
is "pages with a program" yes "$([ $tried -gt 0 ] && echo yes)"
done_testing

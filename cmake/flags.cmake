# What every target of this project is compiled with. ringline_flags(target) applies it; nothing is
# set globally, so a parent project keeps its own flags.
find_package(Threads REQUIRED)
find_path(LIBURING_INCLUDE_DIR liburing.h REQUIRED
	DOC "Headers of liburing 2.3 or newer (Debian: liburing-dev); nothing of it is linked")

set(RINGLINE_PROCESSOR "${CMAKE_SYSTEM_PROCESSOR}")
if(RINGLINE_PROCESSOR MATCHES "^(amd64|AMD64)$")
	set(RINGLINE_PROCESSOR x86_64)
elseif(RINGLINE_PROCESSOR STREQUAL "arm64")
	set(RINGLINE_PROCESSOR aarch64)
endif()

if(CMAKE_CROSSCOMPILING)
	# The host's /usr/include as a whole would shadow the target's libc.
	file(MAKE_DIRECTORY "${PROJECT_BINARY_DIR}/liburing")
	foreach(entry liburing.h liburing)
		file(CREATE_LINK "${LIBURING_INCLUDE_DIR}/${entry}"
			"${PROJECT_BINARY_DIR}/liburing/${entry}" SYMBOLIC)
	endforeach()
	set(RINGLINE_URING_INCLUDE "${PROJECT_BINARY_DIR}/liburing")
else()
	set(RINGLINE_URING_INCLUDE "${LIBURING_INCLUDE_DIR}")
endif()

set(RINGLINE_WARNINGS -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes)
if(PROJECT_IS_TOP_LEVEL)
	list(APPEND RINGLINE_WARNINGS -Werror)
endif()

set(RINGLINE_SANITIZE_FLAGS "")
if(RINGLINE_SANITIZE)
	set(RINGLINE_SANITIZE_FLAGS -fsanitize=${RINGLINE_SANITIZE} -fno-omit-frame-pointer)
	if(RINGLINE_SANITIZE MATCHES "undefined")
		list(APPEND RINGLINE_SANITIZE_FLAGS -fno-sanitize-recover=all)
	endif()
	if(RINGLINE_FUZZ)
		list(APPEND RINGLINE_SANITIZE_FLAGS -fsanitize=fuzzer-no-link)
	endif()
	if(RINGLINE_SANITIZE MATCHES "thread" AND CMAKE_C_COMPILER_ID STREQUAL "GNU")
		# Fences order the ring's memory against the kernel, which TSan does not watch anyway.
		list(APPEND RINGLINE_WARNINGS -Wno-tsan)
	endif()
endif()

# Counters are shared by threads, and processes that end merge theirs into the same files.
set(RINGLINE_COVERAGE_FLAGS "")
if(RINGLINE_COVERAGE)
	set(RINGLINE_COVERAGE_FLAGS --coverage -fprofile-update=atomic)
endif()

function(ringline_flags target)
	# Empty value: a source that says "#define _GNU_SOURCE" itself does not redefine it.
	target_compile_definitions(${target} PRIVATE _GNU_SOURCE=
		$<$<BOOL:${RINGLINE_DEBUG}>:RLN_DEBUG=1> $<$<BOOL:${RINGLINE_MARKS}>:RLN_MARKS=1>)
	target_compile_options(${target} PRIVATE
		$<$<COMPILE_LANGUAGE:C>:${RINGLINE_WARNINGS}>
		-fstack-clash-protection ${RINGLINE_SANITIZE_FLAGS})
	target_link_options(${target} PRIVATE ${RINGLINE_SANITIZE_FLAGS}
		$<$<BOOL:${RINGLINE_COVERAGE}>:--coverage>)
	set_target_properties(${target} PROPERTIES C_STANDARD 17 C_STANDARD_REQUIRED ON
		C_EXTENSIONS ON)
endfunction()

# Sets ${out} to the files, or to one empty source where a folder has none yet: CMake refuses a
# target without sources.
function(ringline_sources out)
	set(files ${ARGN})
	if(NOT files)
		set(files "${PROJECT_BINARY_DIR}/empty.c")
		if(NOT EXISTS "${files}")
			file(WRITE "${files}" "typedef int ringline_empty;\n")
		endif()
	endif()
	set(${out} ${files} PARENT_SCOPE)
endfunction()

# The library, in two halves: everything that only speaks to the system table, and the few files
# that are Linux. libringline is both; libringline-sim puts the simulated kernel in the place of the
# second half.
set(RINGLINE_LINUX_ONLY "^(base/sys_.*|ring/kernel_uring|rt/main)\\.c$")

set(layers base ring op loop task io rt)
list(TRANSFORM layers PREPEND "${PROJECT_SOURCE_DIR}/src/")
set(patterns ${layers})
list(TRANSFORM patterns APPEND "/*.[cS]")
file(GLOB core_sources CONFIGURE_DEPENDS ${patterns})
file(GLOB sim_sources CONFIGURE_DEPENDS "${PROJECT_SOURCE_DIR}/src/sim/*.c")

set(linux_sources "")
foreach(file ${core_sources})
	file(RELATIVE_PATH name "${PROJECT_SOURCE_DIR}/src" "${file}")
	if(name MATCHES "${RINGLINE_LINUX_ONLY}")
		list(APPEND linux_sources "${file}")
		list(REMOVE_ITEM core_sources "${file}")
	elseif(name MATCHES "_(x86_64|aarch64)\\.S$" AND NOT CMAKE_MATCH_1 STREQUAL RINGLINE_PROCESSOR)
		list(REMOVE_ITEM core_sources "${file}")
	endif()
endforeach()

function(ringline_objects target)
	ringline_sources(sources ${ARGN})
	add_library(${target} OBJECT ${sources})
	ringline_flags(${target})
	target_include_directories(${target} PRIVATE
		"${PROJECT_SOURCE_DIR}/include" "${PROJECT_SOURCE_DIR}/src")
	target_include_directories(${target} SYSTEM PRIVATE "${RINGLINE_URING_INCLUDE}")
	# One set of objects serves both libraries. initial-exec keeps the thread's worker pointer one
	# load away although the code is position independent. LTO objects would not survive the
	# localising of hidden symbols below.
	target_compile_options(${target} PRIVATE
		$<$<COMPILE_LANGUAGE:C>:-fno-semantic-interposition>
		$<$<COMPILE_LANGUAGE:C>:-ftls-model=initial-exec> -fno-lto
		$<$<COMPILE_LANGUAGE:C>:${RINGLINE_COVERAGE_FLAGS}>)
	set_target_properties(${target} PROPERTIES POSITION_INDEPENDENT_CODE ON
		C_VISIBILITY_PRESET hidden INTERPROCEDURAL_OPTIMIZATION OFF)
endfunction()

ringline_objects(ringline_core ${core_sources})
ringline_objects(ringline_linux ${linux_sources})
set(ringline_all_objects $<TARGET_OBJECTS:ringline_core> $<TARGET_OBJECTS:ringline_linux>)

# What a user of either library gets. The stack guard of a task is only as good as the probing of
# large frames in the code that runs on it.
function(ringline_usage target)
	target_include_directories(${target} INTERFACE
		$<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/include>
		$<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
	target_compile_options(${target} INTERFACE
		$<$<COMPILE_LANGUAGE:C,CXX>:-fstack-clash-protection>)
	target_link_libraries(${target} INTERFACE Threads::Threads)
	target_link_options(${target} INTERFACE "$<BUILD_INTERFACE:${RINGLINE_SANITIZE_FLAGS}>")
endfunction()

# Hidden visibility does not keep a user's conn_close from colliding with ours inside a static link:
# an archive is one relocatable object whose hidden symbols are local.
# ringline_archive(target NAME name LIBRARIES object-libraries...)
function(ringline_archive target)
	cmake_parse_arguments(PARSE_ARGV 1 A "" "NAME" "LIBRARIES")
	set(joined "${PROJECT_BINARY_DIR}/${A_NAME}.joined.o")
	set(localised "${PROJECT_BINARY_DIR}/${A_NAME}.o")
	set(objects "")
	foreach(library ${A_LIBRARIES})
		list(APPEND objects $<TARGET_OBJECTS:${library}>)
	endforeach()
	add_custom_command(OUTPUT "${localised}"
		COMMAND ${CMAKE_C_COMPILER} -r -nostdlib -o "${joined}" ${objects}
		COMMAND ${CMAKE_OBJCOPY} --localize-hidden "${joined}" "${localised}"
		DEPENDS ${A_LIBRARIES} ${objects}
		COMMAND_EXPAND_LISTS VERBATIM
		COMMENT "Joining the objects of ${A_NAME}, hidden symbols made local")
	set_source_files_properties("${localised}" PROPERTIES EXTERNAL_OBJECT ON GENERATED ON)
	add_library(${target} STATIC "${localised}")
	set_target_properties(${target} PROPERTIES OUTPUT_NAME ${A_NAME} LINKER_LANGUAGE C
		ARCHIVE_OUTPUT_DIRECTORY "${PROJECT_BINARY_DIR}")
	ringline_usage(${target})
endfunction()

ringline_archive(ringline_static NAME ringline LIBRARIES ringline_core ringline_linux)
set_target_properties(ringline_static PROPERTIES EXPORT_NAME static)
add_library(ringline::static ALIAS ringline_static)

set(no_undefined "")
if(NOT RINGLINE_SANITIZE) # a sanitizer's runtime is found in the program only
	set(no_undefined -Wl,-z,defs)
endif()
set(map "${PROJECT_SOURCE_DIR}/ringline.map")
add_library(ringline_shared SHARED ${ringline_all_objects})
set_target_properties(ringline_shared PROPERTIES OUTPUT_NAME ringline LINKER_LANGUAGE C
	EXPORT_NAME shared VERSION ${PROJECT_VERSION} SOVERSION ${PROJECT_VERSION_MAJOR}
	LIBRARY_OUTPUT_DIRECTORY "${PROJECT_BINARY_DIR}" LINK_DEPENDS "${map}")
target_link_options(ringline_shared PRIVATE "-Wl,--version-script=${map}"
	${no_undefined} ${RINGLINE_SANITIZE_FLAGS} ${RINGLINE_COVERAGE_FLAGS})
target_link_libraries(ringline_shared PRIVATE Threads::Threads)
ringline_usage(ringline_shared)
add_library(ringline::shared ALIAS ringline_shared)

# ringline::ringline follows BUILD_SHARED_LIBS, here and in the installed package.
if(BUILD_SHARED_LIBS)
	add_library(ringline::ringline ALIAS ringline_shared)
else()
	add_library(ringline::ringline ALIAS ringline_static)
endif()

# The same with internal symbols visible, for the tests.
add_library(ringline_internal STATIC EXCLUDE_FROM_ALL ${ringline_all_objects})
set_target_properties(ringline_internal PROPERTIES LINKER_LANGUAGE C)
ringline_usage(ringline_internal)

# The simulator: the same core over the fake kernel. For users, and with internal symbols visible.
ringline_objects(ringline_sim_objects ${sim_sources})
if(RINGLINE_SANITIZE MATCHES "address")
	# PERF: it judges, and is not what is judged; a tenth more schedules.
	target_compile_options(ringline_sim_objects PRIVATE -O2)
elseif(RINGLINE_COVERAGE) # it has no threads, and does most of the work
	target_compile_options(ringline_sim_objects PRIVATE -O1 -fprofile-update=single)
endif()
ringline_archive(ringline_sim NAME ringline-sim LIBRARIES ringline_core ringline_sim_objects)
set_target_properties(ringline_sim PROPERTIES EXPORT_NAME sim)
if(NOT RINGLINE_INSTALL) # part of another project: only for whom links it
	set_target_properties(ringline_sim ringline_sim_objects PROPERTIES EXCLUDE_FROM_ALL ON)
endif()
add_library(ringline::sim ALIAS ringline_sim)
add_library(ringline_sim_internal STATIC EXCLUDE_FROM_ALL
	$<TARGET_OBJECTS:ringline_core> $<TARGET_OBJECTS:ringline_sim_objects>)
set_target_properties(ringline_sim_internal PROPERTIES LINKER_LANGUAGE C)
ringline_usage(ringline_sim_internal)

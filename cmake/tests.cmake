# Every tests/<folder>/test_*.c is a program of its own; other sources of a folder are helpers linked
# into each of them. All of them end with one line "N passed, N failed, N skipped".
# ${build}/tests.list has "folder name command" in a line each, tabs between, for ./dev test.
file(GLOB test_support CONFIGURE_DEPENDS "${PROJECT_SOURCE_DIR}/tests/*.c")
ringline_sources(test_support ${test_support})
add_library(test_support OBJECT ${test_support})
ringline_flags(test_support)
target_include_directories(test_support PRIVATE "${PROJECT_SOURCE_DIR}/tests")

# Most processes of the tests end by _exit() or a signal, where counters are lost otherwise.
if(RINGLINE_COVERAGE)
	add_library(coverage_flush OBJECT "${PROJECT_SOURCE_DIR}/tests/coverage/flush.c")
	ringline_flags(coverage_flush)
	target_compile_definitions(test_support PRIVATE RINGLINE_COVERAGE)
endif()
function(ringline_counted target)
	if(RINGLINE_COVERAGE)
		target_sources(${target} PRIVATE $<TARGET_OBJECTS:coverage_flush>)
		target_link_options(${target} PRIVATE -Wl,--wrap=_exit)
	endif()
endfunction()

set(test_list "")
add_custom_target(tests ALL)

function(ringline_add_test folder name)
	set(entry "${folder}/${name}")
	add_test(NAME ${entry} COMMAND ${ARGN})
	set_tests_properties(${entry} PROPERTIES LABELS ${folder} SKIP_RETURN_CODE 77 TIMEOUT 600
		ENVIRONMENT "RINGLINE_BUILD=${PROJECT_BINARY_DIR};RINGLINE_SOURCE=${PROJECT_SOURCE_DIR}")
	list(JOIN ARGN "\t" command)
	string(APPEND test_list "${folder}\t${name}\t${command}\n")
	set(test_list "${test_list}" PARENT_SCOPE)
endfunction()

# ringline_test_folder(folder LINK what... [INTERNAL]) INTERNAL: sees src/.
function(ringline_test_folder folder)
	cmake_parse_arguments(PARSE_ARGV 1 T "INTERNAL" "" "LINK")
	set(dir "${PROJECT_SOURCE_DIR}/tests/${folder}")
	file(GLOB helpers CONFIGURE_DEPENDS "${dir}/*.[cS]")
	file(GLOB files CONFIGURE_DEPENDS "${dir}/test_*.c")
	list(FILTER helpers EXCLUDE REGEX "/test_[^/]*\\.c$")
	foreach(other x86_64 aarch64)
		if(NOT other STREQUAL RINGLINE_PROCESSOR)
			list(FILTER helpers EXCLUDE REGEX "_${other}\\.S$")
		endif()
	endforeach()
	foreach(file ${files})
		cmake_path(GET file STEM name)
		set(target ${folder}_${name})
		add_executable(${target} ${file} ${helpers} $<TARGET_OBJECTS:test_support>)
		ringline_flags(${target})
		target_include_directories(${target} PRIVATE "${PROJECT_SOURCE_DIR}/tests" "${dir}"
			"${PROJECT_SOURCE_DIR}/examples")
		if(T_INTERNAL)
			target_include_directories(${target} PRIVATE
				"${PROJECT_SOURCE_DIR}/include" "${PROJECT_SOURCE_DIR}/src")
			target_include_directories(${target} SYSTEM PRIVATE "${RINGLINE_URING_INCLUDE}")
		endif()
		target_link_libraries(${target} PRIVATE ${T_LINK} Threads::Threads m)
		ringline_counted(${target})
		if(EXISTS "${dir}/${name}.wrap") # functions it puts its own in front of
			target_link_options(${target} PRIVATE "-Wl,@${dir}/${name}.wrap")
			set_target_properties(${target} PROPERTIES LINK_DEPENDS "${dir}/${name}.wrap")
		endif()
		set_target_properties(${target} PROPERTIES OUTPUT_NAME ${name}
			RUNTIME_OUTPUT_DIRECTORY "${PROJECT_BINARY_DIR}/tests/${folder}")
		add_dependencies(tests ${target})
		ringline_add_test(${folder} ${name} ${CMAKE_CROSSCOMPILING_EMULATOR}
			"${PROJECT_BINARY_DIR}/tests/${folder}/${name}")
	endforeach()
	set(test_list "${test_list}" PARENT_SCOPE)
endfunction()

set(kv_library "")
if(TARGET kv)
	set(kv_library kv)
endif()
ringline_test_folder(unit INTERNAL LINK ${kv_library} ringline_internal)
if(sim_sources)
	ringline_test_folder(sim INTERNAL LINK ${kv_library} ringline_sim_internal)
endif()
ringline_test_folder(e2e LINK ringline_static)
ringline_test_folder(scale LINK ringline_static)

# Programs on the public interface that the scripts run.
file(GLOB programs CONFIGURE_DEPENDS "${PROJECT_SOURCE_DIR}/tests/programs/*.c")
foreach(file ${programs})
	cmake_path(GET file STEM name)
	if(name MATCHES "^uv_" AND (CMAKE_CROSSCOMPILING OR NOT RINGLINE_PEER_libuv_INCLUDE
		OR NOT RINGLINE_PEER_libuv))
		continue()
	endif()
	add_executable(test_program_${name} ${file})
	if(name MATCHES "^uv_")
		target_include_directories(test_program_${name} SYSTEM PRIVATE
			"${RINGLINE_PEER_libuv_INCLUDE}")
		target_link_libraries(test_program_${name} PRIVATE "${RINGLINE_PEER_libuv}")
	endif()
	ringline_flags(test_program_${name})
	target_include_directories(test_program_${name} PRIVATE "${PROJECT_SOURCE_DIR}/examples")
	target_link_libraries(test_program_${name} PRIVATE ringline_static)
	set_target_properties(test_program_${name} PROPERTIES OUTPUT_NAME ${name}
		RUNTIME_OUTPUT_DIRECTORY "${PROJECT_BINARY_DIR}/tests/programs")
	add_dependencies(tests test_program_${name})
endforeach()
# Its helper takes the place of the real kernel's ring.
ringline_test_folder(fault INTERNAL LINK ${kv_library} ringline_internal
	-Wl,--wrap=ring_kernel_uring)

# The program of ./dev sim.
file(GLOB driver_sources CONFIGURE_DEPENDS "${PROJECT_SOURCE_DIR}/tests/sim/driver/*.c")
if(sim_sources AND driver_sources)
	add_executable(sim_driver ${driver_sources})
	ringline_flags(sim_driver)
	if(RINGLINE_SANITIZE MATCHES "address")
		target_compile_options(sim_driver PRIVATE -O2) # as the simulator
	endif()
	target_include_directories(sim_driver PRIVATE "${PROJECT_SOURCE_DIR}/tests"
		"${PROJECT_SOURCE_DIR}/tests/sim" "${PROJECT_SOURCE_DIR}/include"
		"${PROJECT_SOURCE_DIR}/src")
	target_include_directories(sim_driver SYSTEM PRIVATE "${RINGLINE_URING_INCLUDE}")
	target_link_libraries(sim_driver PRIVATE ringline_sim_internal Threads::Threads)
	ringline_counted(sim_driver)
	set_target_properties(sim_driver PROPERTIES OUTPUT_NAME sim
		RUNTIME_OUTPUT_DIRECTORY "${PROJECT_BINARY_DIR}/tests/sim")
	add_dependencies(tests sim_driver)
endif()

# Scripts get the build folder as their argument; lib*.sh is what they share.
file(GLOB scripts CONFIGURE_DEPENDS "${PROJECT_SOURCE_DIR}/tests/e2e/*.sh")
list(FILTER scripts EXCLUDE REGEX "/lib[^/]*\\.sh$")
foreach(file ${scripts})
	cmake_path(GET file STEM name)
	ringline_add_test(e2e ${name}.sh bash ${file} ${PROJECT_BINARY_DIR})
endforeach()
if(RINGLINE_INSTALL)
	ringline_add_test(compile consumers bash "${PROJECT_SOURCE_DIR}/tests/compile/run"
		"${PROJECT_BINARY_DIR}")
endif()
ringline_add_test(compile checks bash "${PROJECT_SOURCE_DIR}/tests/compile/checks"
	"${PROJECT_BINARY_DIR}")
if(EXISTS "${PROJECT_SOURCE_DIR}/tests/aarch64/run.sh")
	ringline_add_test(aarch64 switch bash "${PROJECT_SOURCE_DIR}/tests/aarch64/run.sh")
endif()
ringline_add_test(model spin bash "${PROJECT_SOURCE_DIR}/tests/model/run.sh")
ringline_add_test(sim mutants_apply python3 "${PROJECT_SOURCE_DIR}/tests/sim/mutants/run" --check)
file(GENERATE OUTPUT "${PROJECT_BINARY_DIR}/tests.list" CONTENT "${test_list}")

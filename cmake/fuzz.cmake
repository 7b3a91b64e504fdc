# libFuzzer targets: tests/fuzz/fuzz_NAME.c, linked with the library in its place in `fuzz_real`, or
# over the simulated kernel. Only with clang, and only by the preset "fuzz".
add_custom_target(fuzz)
set(fuzz_list "")
set(fuzz_sim conn sync) # these run over the simulated kernel

file(GLOB fuzz_files CONFIGURE_DEPENDS "${PROJECT_SOURCE_DIR}/tests/fuzz/fuzz_*.c")
foreach(file ${fuzz_files})
	cmake_path(GET file STEM stem)
	string(REPLACE "fuzz_" "" name "${stem}")
	add_executable(${stem} EXCLUDE_FROM_ALL ${file})
	ringline_flags(${stem})
	target_include_directories(${stem} PRIVATE
		"${PROJECT_SOURCE_DIR}/include" "${PROJECT_SOURCE_DIR}/src"
		"${PROJECT_SOURCE_DIR}/tests" "${PROJECT_SOURCE_DIR}/examples"
		"${PROJECT_SOURCE_DIR}/tools")
	target_include_directories(${stem} SYSTEM PRIVATE "${RINGLINE_URING_INCLUDE}")
	target_link_options(${stem} PRIVATE -fsanitize=fuzzer)
	if(name IN_LIST fuzz_sim)
		target_link_libraries(${stem} PRIVATE ringline_sim_internal Threads::Threads)
	else()
		target_link_libraries(${stem} PRIVATE kv ringline_internal Threads::Threads)
	endif()
	set_target_properties(${stem} PROPERTIES
		RUNTIME_OUTPUT_DIRECTORY "${PROJECT_BINARY_DIR}/fuzz" OUTPUT_NAME ${name})
	add_dependencies(fuzz ${stem})
	string(APPEND fuzz_list "fuzz\t${name}\tbash\t${PROJECT_SOURCE_DIR}/tests/fuzz/run"
		"\t${PROJECT_BINARY_DIR}\t${name}\n")
endforeach()
file(GENERATE OUTPUT "${PROJECT_BINARY_DIR}/tests.list" CONTENT "${fuzz_list}")

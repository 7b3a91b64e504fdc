# Programs on the public interface: the tool, the examples, the bench peers. `programs` builds them.
add_custom_target(programs ALL)

# ringline_program(target FOLDER dir NAME name SOURCES files... [LINK libraries...] [SIM])
# SIM: over the simulator, in the place of the library.
function(ringline_program target)
	cmake_parse_arguments(PARSE_ARGV 1 P "SIM" "FOLDER;NAME" "SOURCES;LINK")
	add_executable(${target} ${P_SOURCES})
	ringline_flags(${target})
	target_include_directories(${target} PRIVATE "${PROJECT_SOURCE_DIR}/examples")
	target_link_libraries(${target} PRIVATE ${P_LINK}
		$<IF:$<BOOL:${P_SIM}>,ringline_sim,ringline_static>)
	set_target_properties(${target} PROPERTIES OUTPUT_NAME ${P_NAME}
		RUNTIME_OUTPUT_DIRECTORY "${PROJECT_BINARY_DIR}/${P_FOLDER}")
	add_dependencies(programs ${target})
endfunction()

# The key-value server is an example and also `ringline serve kv`. Its parts do not name the library
# they are linked with: their unit tests bring the one with internal symbols.
file(GLOB kv_sources CONFIGURE_DEPENDS "${PROJECT_SOURCE_DIR}/examples/kv/*.c")
set(kv_main ${kv_sources})
list(FILTER kv_main INCLUDE REGEX "/main\\.c$")
list(FILTER kv_sources EXCLUDE REGEX "/main\\.c$")
ringline_sources(kv_sources ${kv_sources})
add_library(kv STATIC ${kv_sources})
ringline_flags(kv)
target_include_directories(kv PUBLIC "${PROJECT_SOURCE_DIR}/examples"
	"${PROJECT_SOURCE_DIR}/include")

if(RINGLINE_BUILD_TOOLS)
	file(GLOB tool_sources CONFIGURE_DEPENDS "${PROJECT_SOURCE_DIR}/tools/ringline/*.c")
	if(tool_sources)
		ringline_program(tool FOLDER bin NAME ringline SOURCES ${tool_sources}
			LINK kv m)
		target_compile_definitions(tool PRIVATE RINGLINE_VERSION="${PROJECT_VERSION}")
		target_compile_options(tool PRIVATE ${RINGLINE_COVERAGE_FLAGS})
	endif()
endif()

if(RINGLINE_BUILD_EXAMPLES)
	file(GLOB example_sources CONFIGURE_DEPENDS "${PROJECT_SOURCE_DIR}/examples/*.c")
	foreach(file ${example_sources})
		cmake_path(GET file STEM name)
		ringline_program(example_${name} FOLDER examples NAME ${name} SOURCES ${file})
	endforeach()
	if(kv_main)
		ringline_program(kv_server FOLDER examples NAME kv-server SOURCES ${kv_main}
			LINK kv)
		file(GLOB kv_sim_sources CONFIGURE_DEPENDS
			"${PROJECT_SOURCE_DIR}/examples/kv_sim/*.c")
		ringline_program(kv_sim FOLDER examples NAME kv-sim SOURCES ${kv_sim_sources}
			LINK kv SIM)
	endif()

	file(GLOB bench_sources CONFIGURE_DEPENDS "${PROJECT_SOURCE_DIR}/bench/*.c")
	foreach(file ${bench_sources})
		cmake_path(GET file STEM name)
		ringline_program(bench_${name} FOLDER bench NAME ${name} SOURCES ${file})
		target_include_directories(bench_${name} SYSTEM PRIVATE "${RINGLINE_URING_INCLUDE}")
	endforeach()

	# Other libraries' servers, to compare with: where the libraries are.
	foreach(peer "libuv;uv.h;uv" "libevent;event2/event.h;event_core")
		list(GET peer 0 name)
		list(GET peer 1 header)
		list(GET peer 2 library)
		find_path(RINGLINE_PEER_${name}_INCLUDE ${header})
		find_library(RINGLINE_PEER_${name} ${library})
		mark_as_advanced(RINGLINE_PEER_${name}_INCLUDE RINGLINE_PEER_${name})
		if(CMAKE_CROSSCOMPILING OR NOT RINGLINE_PEER_${name}_INCLUDE
			OR NOT RINGLINE_PEER_${name})
			continue()
		endif()
		ringline_program(peer_${name} FOLDER bench/peers NAME ${name}_echo
			SOURCES "${PROJECT_SOURCE_DIR}/bench/peers/${name}_echo.c"
			LINK "${RINGLINE_PEER_${name}}")
		target_include_directories(peer_${name} SYSTEM PRIVATE
			"${RINGLINE_PEER_${name}_INCLUDE}")
	endforeach()
endif()

include(CMakePackageConfigHelpers)

install(DIRECTORY "${PROJECT_SOURCE_DIR}/include/" DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}
	FILES_MATCHING PATTERN "*.h")
install(TARGETS ringline_static ringline_shared ringline_sim EXPORT ringline-targets
	ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR}
	LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
if(TARGET tool)
	install(TARGETS tool RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
endif()

# gdb: source PREFIX/share/ringline/ringline-gdb.py
install(FILES "${PROJECT_SOURCE_DIR}/tools/gdb/ringline-gdb.py"
	DESTINATION ${CMAKE_INSTALL_DATADIR}/ringline)

set(package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/ringline)
install(EXPORT ringline-targets NAMESPACE ringline:: DESTINATION ${package_dir})
configure_package_config_file("${PROJECT_SOURCE_DIR}/cmake/ringline-config.cmake.in"
	"${PROJECT_BINARY_DIR}/ringline-config.cmake" INSTALL_DESTINATION ${package_dir})
write_basic_package_version_file("${PROJECT_BINARY_DIR}/ringline-config-version.cmake"
	COMPATIBILITY SameMinorVersion)
install(FILES "${PROJECT_BINARY_DIR}/ringline-config.cmake"
	"${PROJECT_BINARY_DIR}/ringline-config-version.cmake" DESTINATION ${package_dir})

# Relative to the .pc file, so that an installed tree may be moved.
if(IS_ABSOLUTE "${CMAKE_INSTALL_LIBDIR}")
	set(RINGLINE_PC_PREFIX "${CMAKE_INSTALL_PREFIX}")
	set(RINGLINE_PC_LIBDIR "${CMAKE_INSTALL_FULL_LIBDIR}")
else()
	file(RELATIVE_PATH up "/prefix/${CMAKE_INSTALL_LIBDIR}/pkgconfig" "/prefix")
	cmake_path(SET up NORMALIZE "${up}")
	string(REGEX REPLACE "/$" "" up "${up}")
	set(RINGLINE_PC_PREFIX "\${pcfiledir}/${up}")
	set(RINGLINE_PC_LIBDIR "\${prefix}/${CMAKE_INSTALL_LIBDIR}")
endif()
foreach(name ringline ringline-sim)
	configure_file("${PROJECT_SOURCE_DIR}/${name}.pc.in" "${PROJECT_BINARY_DIR}/${name}.pc" @ONLY)
	install(FILES "${PROJECT_BINARY_DIR}/${name}.pc"
		DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
endforeach()

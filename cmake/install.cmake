# What `cmake --install` puts where: the libraries, the public headers, the program, and what
# find_package(moderato) and pkg-config need.

include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

install(TARGETS moderato_core moderato_termination moderato_llm moderato_agents moderato
        EXPORT moderato)
if(MODERATO_BUILD_CLI)
  set_target_properties(moderato_cli PROPERTIES INSTALL_RPATH "$ORIGIN/../${CMAKE_INSTALL_LIBDIR}")
  install(TARGETS moderato_cli)
endif()

# A header is public unless it says that it is a "Private header of the library".
foreach(module core termination llm agents)
  file(GLOB_RECURSE headers CONFIGURE_DEPENDS RELATIVE "${PROJECT_SOURCE_DIR}"
       "${PROJECT_SOURCE_DIR}/${module}/*.hpp")
  foreach(header IN LISTS headers)
    file(STRINGS "${PROJECT_SOURCE_DIR}/${header}" private REGEX "^// Private header of the library")
    if(NOT private)
      get_filename_component(folder "${header}" DIRECTORY)
      install(FILES "${PROJECT_SOURCE_DIR}/${header}"
              DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}/moderato/${folder}")
    endif()
  endforeach()
endforeach()
install(FILES "${PROJECT_SOURCE_DIR}/cmake/moderato.hpp"
        DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}/moderato")

set(package_folder "${CMAKE_INSTALL_LIBDIR}/cmake/moderato")
install(EXPORT moderato NAMESPACE moderato:: FILE moderatoTargets.cmake DESTINATION "${package_folder}")
configure_package_config_file("${PROJECT_SOURCE_DIR}/cmake/moderatoConfig.cmake.in"
                              "${PROJECT_BINARY_DIR}/moderatoConfig.cmake"
                              INSTALL_DESTINATION "${package_folder}"
                              NO_SET_AND_CHECK_MACRO)
# Before 1.0 a minor version may break its users.
write_basic_package_version_file("${PROJECT_BINARY_DIR}/moderatoConfigVersion.cmake"
                                 COMPATIBILITY SameMinorVersion)
install(FILES "${PROJECT_BINARY_DIR}/moderatoConfig.cmake"
              "${PROJECT_BINARY_DIR}/moderatoConfigVersion.cmake"
        DESTINATION "${package_folder}")

file(RELATIVE_PATH prefix_from_pkgconfig "/${CMAKE_INSTALL_LIBDIR}/pkgconfig" "/")
# A program that links static libraries links what they use, too. (`pkg-config --static` would ask for what
# libcurl itself was linked with, which Debian does not install with it.)
set(pc_requires "")
set(pc_libs "")
if(NOT BUILD_SHARED_LIBS)
  set(pc_requires ", libcurl, re2, simdjson")
  if(MODERATO_REDIS)
    string(APPEND pc_requires ", hiredis")
  endif()
  set(pc_libs " -lboost_context")
  if(MODERATO_SQLITE)
    string(APPEND pc_requires ", sqlite3")
  endif()
endif()
configure_file("${PROJECT_SOURCE_DIR}/cmake/moderato.pc.in" "${PROJECT_BINARY_DIR}/moderato.pc" @ONLY)
install(FILES "${PROJECT_BINARY_DIR}/moderato.pc" DESTINATION "${CMAKE_INSTALL_LIBDIR}/pkgconfig")

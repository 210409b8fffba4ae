# How moderato's targets are made: one way for all modules.

# Headers are included as <moderato/core/message.hpp> in the tree as after installation: a link in the
# build folder stands for the installed include folder.
set(MODERATO_INCLUDE_DIR "${PROJECT_BINARY_DIR}/include" CACHE PATH "Folder that holds the link")
file(MAKE_DIRECTORY "${MODERATO_INCLUDE_DIR}")
set(link_target "")
if(IS_SYMLINK "${MODERATO_INCLUDE_DIR}/moderato")
  file(READ_SYMLINK "${MODERATO_INCLUDE_DIR}/moderato" link_target)
endif()
if(NOT "${link_target}" STREQUAL "${PROJECT_SOURCE_DIR}")
  file(CREATE_LINK "${PROJECT_SOURCE_DIR}" "${MODERATO_INCLUDE_DIR}/moderato" SYMBOLIC)
endif()

# <moderato/moderato.hpp>, the header of all headers, is not in the tree's top level: a second include
# folder holds it.
configure_file("${PROJECT_SOURCE_DIR}/cmake/moderato.hpp"
               "${PROJECT_BINARY_DIR}/umbrella/moderato/moderato.hpp" COPYONLY)

# Language, warnings and sanitizers of every target of ours; nothing global.
function(moderato_compile_settings target)
  target_compile_features(${target} PUBLIC cxx_std_20)
  set_target_properties(${target} PROPERTIES CXX_EXTENSIONS OFF POSITION_INDEPENDENT_CODE ON)
  target_compile_options(${target} PRIVATE -Wall -Wextra -Wshadow -Wconversion
                         $<$<BOOL:${MODERATO_WERROR}>:-Werror>)
  if(MODERATO_SANITIZE)
    target_compile_options(${target} PUBLIC -fsanitize=${MODERATO_SANITIZE}
                           -fno-omit-frame-pointer -fno-sanitize-recover=all)
    if(MODERATO_SANITIZE MATCHES "thread" AND CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
      target_compile_options(${target} PUBLIC -Wno-tsan)  # Asio's fences, which it does not model
    endif()
    target_link_options(${target} PUBLIC -fsanitize=${MODERATO_SANITIZE})
  endif()
endfunction()

# Frames of the library touch their pages in order, so that none steps over the guard of a fiber's stack.
include(CheckCXXCompilerFlag)
check_cxx_compiler_flag(-fstack-clash-protection MODERATO_STACK_CLASH_PROTECTION)
function(moderato_protect_stacks target)
  if(MODERATO_STACK_CLASH_PROTECTION)
    target_compile_options(${target} PRIVATE -fstack-clash-protection)
  endif()
endfunction()

# In united builds (-DCMAKE_UNITY_BUILD=ON, for the slower checks: several files are compiled as one) these
# files of the current folder are compiled alone: private names of theirs clash with other files'.
function(moderato_compile_alone)
  list(TRANSFORM ARGN PREPEND "${CMAKE_CURRENT_SOURCE_DIR}/" OUTPUT_VARIABLE files)
  set_source_files_properties(${files} PROPERTIES SKIP_UNITY_BUILD_INCLUSION ON)
endfunction()

# moderato_library(core FOLDERS . sub LINK fmt::fmt PRIVATE_LINK Boost::context OBJECTS part…): the
# target moderato_core with the alias moderato::core, from all sources of the folders (by default the
# current one alone), and of the object libraries named. A folder that is not there yet has no sources.
function(moderato_library name)
  cmake_parse_arguments(ARG "" "" "FOLDERS;LINK;PRIVATE_LINK;OBJECTS" ${ARGN})
  if(NOT ARG_FOLDERS)
    set(ARG_FOLDERS .)
  endif()
  set(sources)
  foreach(folder IN LISTS ARG_FOLDERS)
    file(GLOB found CONFIGURE_DEPENDS "${CMAKE_CURRENT_SOURCE_DIR}/${folder}/*.cpp")
    list(APPEND sources ${found})
  endforeach()
  set(objects)
  foreach(part IN LISTS ARG_OBJECTS)
    list(APPEND objects $<TARGET_OBJECTS:${part}>)
  endforeach()
  if(NOT sources AND NOT objects)
    file(TOUCH "${CMAKE_CURRENT_BINARY_DIR}/empty.cpp")
    set(sources "${CMAKE_CURRENT_BINARY_DIR}/empty.cpp")
  endif()
  add_library(moderato_${name} ${sources} ${objects})
  add_library(moderato::${name} ALIAS moderato_${name})
  set_target_properties(moderato_${name} PROPERTIES EXPORT_NAME ${name}
                        VERSION ${PROJECT_VERSION} SOVERSION ${PROJECT_VERSION_MAJOR}.${PROJECT_VERSION_MINOR}
                        INSTALL_RPATH "$ORIGIN"
                        DEFINE_SYMBOL "")  # static and shared objects are compiled alike: one cache
  target_include_directories(moderato_${name} PUBLIC $<BUILD_INTERFACE:${MODERATO_INCLUDE_DIR}>
                             $<BUILD_INTERFACE:${PROJECT_BINARY_DIR}/umbrella>
                             $<INSTALL_INTERFACE:include>)
  target_link_libraries(moderato_${name} PUBLIC ${ARG_LINK} PRIVATE ${ARG_PRIVATE_LINK})
  moderato_compile_settings(moderato_${name})
  moderato_protect_stacks(moderato_${name})
endfunction()

# moderato_part(limiter FOLDERS limiter limiter/backends LINK …): an object library, a part of a module
# that tests may link alone. EXCLUDE: a pattern of files to leave out.
function(moderato_part name)
  cmake_parse_arguments(ARG "" "EXCLUDE" "FOLDERS;LINK" ${ARGN})
  set(sources)
  foreach(folder IN LISTS ARG_FOLDERS)
    file(GLOB found CONFIGURE_DEPENDS "${CMAKE_CURRENT_SOURCE_DIR}/${folder}/*.cpp")
    list(APPEND sources ${found})
  endforeach()
  if(ARG_EXCLUDE)
    list(FILTER sources EXCLUDE REGEX "${ARG_EXCLUDE}")
  endif()
  if(NOT sources)
    file(TOUCH "${CMAKE_CURRENT_BINARY_DIR}/empty.cpp")
    set(sources "${CMAKE_CURRENT_BINARY_DIR}/empty.cpp")
  endif()
  add_library(${name} OBJECT ${sources})
  target_link_libraries(${name} PUBLIC ${ARG_LINK})
  moderato_compile_settings(${name})
  moderato_protect_stacks(${name})
endfunction()

# moderato_program(target SOURCES… LINK …): an executable.
function(moderato_program name)
  cmake_parse_arguments(ARG "" "" "SOURCES;LINK" ${ARGN})
  add_executable(${name} ${ARG_SOURCES})
  target_link_libraries(${name} PRIVATE ${ARG_LINK})
  moderato_compile_settings(${name})
endfunction()

# What users link and what is installed. The folders' libraries are for us; users get bundles, one archive each:
#
#   holdfast::holdfast  the library: save, load, verify, and the seams of planners and storage. No CUDA.
#   holdfast::sim       the simulator
#   holdfast::testing   campaigns as programs of the user's own
#   holdfast::cuda      the CUDA device, where the back end was built
#
# All derive from the folders that their headers in include/holdfast stand for, and from the USES of those.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

# Libraries of others, as an installed package finds them: TARGET|arguments of find_dependency|Requires of pkg-config|Libs of pkg-config.
set(HOLDFAST_EXTERNALS
  "fmt::fmt|fmt|fmt|"
  "tl::expected|tl-expected||"
  "Boost::headers|Boost 1.74||"
  "Boost::context|Boost 1.74 COMPONENTS context||-lboost_context"
  "Threads::Threads|Threads||-pthread"
  "liburing::liburing|liburing|liburing|"
  "OpenSSL::Crypto|OpenSSL COMPONENTS Crypto|libcrypto|"
  "CUDA::cudart_static|CUDAToolkit||")
# These are headers that only our sources include: who links the archives needs them not.
set(HOLDFAST_EXTERNALS_INSIDE nlohmann_json::nlohmann_json CLI11::CLI11)

# holdfast_folders_below(OUT NAME...)  The folders named and all that they use, as the property HOLDFAST_FOLDERS has it: NAME=FOLDER=USES.
function(holdfast_folders_below out)
  get_property(entries GLOBAL PROPERTY HOLDFAST_FOLDERS)
  set(current "")
  foreach(entry IN LISTS entries)
    if(entry MATCHES "^([^=]+)=[^=]*=(.*)$")
      set(current ${CMAKE_MATCH_1})
      set(uses_${current} ${CMAKE_MATCH_2})
    else()
      list(APPEND uses_${current} ${entry})
    endif()
  endforeach()
  set(pending ${ARGN})
  set(found "")
  while(pending)
    list(POP_FRONT pending folder)
    if(NOT folder IN_LIST found)
      list(APPEND found ${folder})
      list(APPEND pending ${uses_${folder}})
    endif()
  endwhile()
  set(${out} ${found} PARENT_SCOPE)
endfunction()

# holdfast_bundle(NAME sim FOLDERS sim USES holdfast [RUNTIME target])  holdfast::NAME, with the objects of FOLDERS and of what they use but for
# those that the bundles of USES hold. RUNTIME is linked as it is here, and as CUDA::cudart_static from an installed package.
function(holdfast_bundle)
  cmake_parse_arguments(ARG "" "NAME;RUNTIME" "FOLDERS;USES" ${ARGN})
  set(bundle holdfast_bundle.${ARG_NAME})
  set(output holdfast)
  if(NOT ARG_NAME STREQUAL "holdfast")
    set(output holdfast-${ARG_NAME})
  endif()
  holdfast_folders_below(folders ${ARG_FOLDERS})
  foreach(used IN LISTS ARG_USES)
    get_target_property(theirs holdfast_bundle.${used} HOLDFAST_BUNDLED)
    list(REMOVE_ITEM folders ${theirs})
  endforeach()

  add_library(${bundle} STATIC)
  add_library(holdfast::${ARG_NAME} ALIAS ${bundle})
  set_target_properties(${bundle} PROPERTIES
    EXPORT_NAME ${ARG_NAME} OUTPUT_NAME ${output} LINKER_LANGUAGE CXX
    HOLDFAST_BUNDLED "${folders}" ARCHIVE_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/lib)
  target_compile_features(${bundle} INTERFACE cxx_std_20)
  target_include_directories(${bundle} INTERFACE
    $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/include> $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}> $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
  foreach(used IN LISTS ARG_USES)
    target_link_libraries(${bundle} INTERFACE holdfast_bundle.${used})
  endforeach()
  if(ARG_RUNTIME)
    target_link_libraries(${bundle} INTERFACE $<BUILD_INTERFACE:${ARG_RUNTIME}> $<INSTALL_INTERFACE:CUDA::cudart_static>)
    set(dependencies CUDAToolkit)
  endif()

  foreach(folder IN LISTS folders)
    get_target_property(type holdfast_${folder} TYPE)
    if(NOT type STREQUAL "INTERFACE_LIBRARY")
      get_target_property(sources holdfast_${folder} SOURCES)
      list(FILTER sources INCLUDE REGEX "TARGET_OBJECTS")  # what the folder's own objects leave out
      target_sources(${bundle} PRIVATE $<TARGET_OBJECTS:holdfast_${folder}> ${sources})
    endif()
    get_target_property(linked holdfast_${folder} INTERFACE_LINK_LIBRARIES)
    foreach(library IN LISTS linked)
      if(library MATCHES "holdfast_|^linked-NOTFOUND$" OR library IN_LIST HOLDFAST_EXTERNALS_INSIDE)
        continue()
      endif()
      set(known ${HOLDFAST_EXTERNALS})
      list(FILTER known INCLUDE REGEX "^${library}[|]")
      if(NOT known)
        message(FATAL_ERROR "install: ${folder} links ${library}; expected it in HOLDFAST_EXTERNALS or HOLDFAST_EXTERNALS_INSIDE "
          "(cmake/HoldfastInstall.cmake), so that an installed package finds it too")
      endif()
      target_link_libraries(${bundle} INTERFACE ${library})
      string(REPLACE "|" ";" known "${known}")
      list(GET known 1 dependency)
      list(APPEND dependencies "${dependency}")
      list(GET known 2 requires)
      list(APPEND pkgconfig_requires ${requires})
      list(GET known 3 libs)
      list(APPEND pkgconfig_libs ${libs})
    endforeach()
  endforeach()
  foreach(list dependencies pkgconfig_requires pkgconfig_libs)
    list(REMOVE_DUPLICATES ${list})
    set_target_properties(${bundle} PROPERTIES HOLDFAST_${list} "${${list}}")
  endforeach()
endfunction()

holdfast_bundle(NAME holdfast FOLDERS api)
holdfast_bundle(NAME sim FOLDERS sim USES holdfast)
holdfast_bundle(NAME testing FOLDERS sim.testing USES sim holdfast)
set(bundles holdfast sim testing)
if(HOLDFAST_CUDA_FOUND)
  holdfast_bundle(NAME cuda FOLDERS backend.cuda USES holdfast RUNTIME holdfast_cudart_real)
  list(APPEND bundles cuda)
endif()

if(NOT HOLDFAST_INSTALL)
  return()
endif()

# A bundle's targets are a file of their own, so that who has no CUDA toolkit, or no Boost.Context, can use the others.
set(package ${CMAKE_INSTALL_LIBDIR}/cmake/holdfast)
set(parts "")
set(entries "")
foreach(bundle IN LISTS bundles)
  install(TARGETS holdfast_bundle.${bundle} EXPORT holdfast-${bundle} ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
  install(EXPORT holdfast-${bundle} FILE holdfast-${bundle}-targets.cmake NAMESPACE holdfast:: DESTINATION ${package})
  list(APPEND entries holdfast/${bundle}.h)
  get_target_property(dependencies holdfast_bundle.${bundle} HOLDFAST_dependencies)
  get_target_property(used holdfast_bundle.${bundle} INTERFACE_LINK_LIBRARIES)
  list(FILTER used INCLUDE REGEX "^holdfast_bundle\\.")
  list(TRANSFORM used REPLACE "^holdfast_bundle\\." "")
  list(REMOVE_ITEM used holdfast)
  list(JOIN dependencies "\" \"" dependencies)
  if(bundle STREQUAL "holdfast")
    set(HOLDFAST_DEPENDENCIES "\"${dependencies}\"")
  else()
    string(APPEND parts "set(holdfast_${bundle}_dependencies \"${dependencies}\")\nset(holdfast_${bundle}_uses ${used})\nlist(APPEND holdfast_parts ${bundle})\n")
  endif()
endforeach()
configure_package_config_file(${PROJECT_SOURCE_DIR}/cmake/holdfast-config.cmake.in ${PROJECT_BINARY_DIR}/package/holdfast-config.cmake
  INSTALL_DESTINATION ${package} NO_CHECK_REQUIRED_COMPONENTS_MACRO)
# Before 1.0 a minor version may break its users.
write_basic_package_version_file(${PROJECT_BINARY_DIR}/package/holdfast-config-version.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/package/holdfast-config.cmake ${PROJECT_BINARY_DIR}/package/holdfast-config-version.cmake
  ${PROJECT_SOURCE_DIR}/cmake/Findliburing.cmake DESTINATION ${package})

file(RELATIVE_PATH HOLDFAST_PC_TO_PREFIX /${CMAKE_INSTALL_LIBDIR}/pkgconfig /)
get_target_property(requires holdfast_bundle.holdfast HOLDFAST_pkgconfig_requires)
get_target_property(libs holdfast_bundle.holdfast HOLDFAST_pkgconfig_libs)
list(JOIN requires " " HOLDFAST_PC_REQUIRES)
list(JOIN libs " " HOLDFAST_PC_LIBS)
configure_file(${PROJECT_SOURCE_DIR}/cmake/holdfast.pc.in ${PROJECT_BINARY_DIR}/package/holdfast.pc @ONLY)
install(FILES ${PROJECT_BINARY_DIR}/package/holdfast.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)

install(CODE "set(HOLDFAST_SOURCE \"${PROJECT_SOURCE_DIR}\")
  set(HOLDFAST_STAGE \"${PROJECT_BINARY_DIR}/package/include\")
  set(HOLDFAST_INCLUDEDIR \"${CMAKE_INSTALL_INCLUDEDIR}\")
  set(HOLDFAST_ENTRIES \"${entries}\")")
install(SCRIPT ${PROJECT_SOURCE_DIR}/cmake/install_headers.cmake)

# The campaign catches a bug planted in holdfast-sim-mutants before it says that the healthy code has none.
foreach(program holdfast holdfast-report holdfast-sim holdfast-sim-mutants holdfast-validate holdfast-validate-simgpu)
  if(TARGET ${program})
    install(TARGETS ${program} RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
  endif()
endforeach()
if(HOLDFAST_PROGRAMS)
  install(DIRECTORY properties/specs DESTINATION ${CMAKE_INSTALL_DATADIR}/holdfast)
endif()

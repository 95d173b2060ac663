# Finds liburing, which brings pkg-config's file but none of CMake's: liburing_FOUND, liburing_VERSION, liburing::liburing. Installed beside
# the package's own files, because what links Holdfast links it too.
find_package(PkgConfig QUIET)
if(PkgConfig_FOUND)
  pkg_check_modules(liburing_pc QUIET liburing)
endif()
set(liburing_VERSION ${liburing_pc_VERSION})
find_path(liburing_INCLUDE_DIR liburing.h HINTS ${liburing_pc_INCLUDE_DIRS})
find_library(liburing_LIBRARY uring HINTS ${liburing_pc_LIBRARY_DIRS})
mark_as_advanced(liburing_INCLUDE_DIR liburing_LIBRARY)

include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(liburing REQUIRED_VARS liburing_LIBRARY liburing_INCLUDE_DIR VERSION_VAR liburing_VERSION)
if(liburing_FOUND AND NOT TARGET liburing::liburing)
  add_library(liburing::liburing UNKNOWN IMPORTED)
  set_target_properties(liburing::liburing PROPERTIES IMPORTED_LOCATION ${liburing_LIBRARY} INTERFACE_INCLUDE_DIRECTORIES ${liburing_INCLUDE_DIR})
endif()

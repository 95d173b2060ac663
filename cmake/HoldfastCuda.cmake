# Finds nvcc, the CUDA headers and the static runtime, and enables the language CUDA. Sets HOLDFAST_CUDA_FOUND, and when it is ON
# HOLDFAST_CUDA_INCLUDE and HOLDFAST_CUDART_STATIC. Without a toolkit the CUDA back end is left out and the rest builds; HOLDFAST_CUDA_LEFT_OUT
# says why.
set(HOLDFAST_CUDA_FOUND OFF)
set(HOLDFAST_CUDA_LEFT_OUT "")
macro(holdfast_leave_cuda_out reason)
  set(HOLDFAST_CUDA_LEFT_OUT "${reason}")
  message(STATUS "CUDA back end: left out (${reason})")
endmacro()
if(NOT HOLDFAST_CUDA)
  holdfast_leave_cuda_out("HOLDFAST_CUDA is OFF")
  return()
endif()

# What `./run setup` installs, as a toolkit's tree or as the packages' own, comes before what the machine has.
file(GLOB toolkits ${PROJECT_SOURCE_DIR}/.toolchain/cuda* ${PROJECT_SOURCE_DIR}/.toolchain/cuda*/nvidia/cu1*
  ${PROJECT_SOURCE_DIR}/.toolchain/nvidia/cu1* ${PROJECT_SOURCE_DIR}/.toolchain/lib/python3*/site-packages/nvidia/cu1*
  ${PROJECT_SOURCE_DIR}/.toolchain/*/lib/python3*/site-packages/nvidia/cu1*)
find_program(HOLDFAST_NVCC NAMES $ENV{CUDACXX} nvcc HINTS ${toolkits} ENV CUDA_HOME ENV CUDA_PATH PATHS /usr/local/cuda /opt/cuda PATH_SUFFIXES bin)
if(HOLDFAST_NVCC)
  get_filename_component(nvcc ${HOLDFAST_NVCC} REALPATH)
  get_filename_component(toolkit ${nvcc}/../.. ABSOLUTE)
  find_path(HOLDFAST_CUDA_INCLUDE cuda_runtime_api.h HINTS ${toolkit} PATH_SUFFIXES include targets/x86_64-linux/include)
  find_library(HOLDFAST_CUDART_STATIC cudart_static HINTS ${toolkit} PATH_SUFFIXES lib lib64 targets/x86_64-linux/lib)
endif()
foreach(part HOLDFAST_NVCC HOLDFAST_CUDA_INCLUDE HOLDFAST_CUDART_STATIC)
  if(NOT ${part})
    holdfast_leave_cuda_out("${part} not found; set it, CUDACXX or PATH")
    return()
  endif()
endforeach()

# check_language tries a compiler that the environment names, and none that CMAKE_CUDA_COMPILER names already.
set(ENV{CUDACXX} ${HOLDFAST_NVCC})
set(ENV{CUDAHOSTCXX} ${CMAKE_CXX_COMPILER})
set(CMAKE_CUDA_ARCHITECTURES 80 90)
include(CheckLanguage)
check_language(CUDA)
if(NOT CMAKE_CUDA_COMPILER)
  holdfast_leave_cuda_out("${HOLDFAST_NVCC} does not work with ${CMAKE_CXX_COMPILER}")
  return()
endif()
enable_language(CUDA)

# CMake 3.25 knows no CUDA20.
set(CMAKE_CUDA20_STANDARD_COMPILE_OPTION -std=c++20)
set(CMAKE_CUDA20_EXTENSION_COMPILE_OPTION -std=c++20)
set(CMAKE_CUDA_STANDARD 20)
set(CMAKE_CUDA_STANDARD_REQUIRED ON)
set(CMAKE_CUDA_COMPILER_LAUNCHER ${CMAKE_CXX_COMPILER_LAUNCHER})

# The host side is built as the rest is, sanitizers included. nvcc splits what follows -Xcompiler at commas, hence one check a flag.
separate_arguments(flags UNIX_COMMAND "${CMAKE_CXX_FLAGS}")
foreach(flag IN LISTS flags)
  if(flag MATCHES "^-fsanitize=(.*)$")
    string(REPLACE "," ";" checks ${CMAKE_MATCH_1})
    foreach(check IN LISTS checks)
      string(APPEND CMAKE_CUDA_FLAGS " -Xcompiler=-fsanitize=${check}")
    endforeach()
  elseif(NOT flag MATCHES ",")
    string(APPEND CMAKE_CUDA_FLAGS " -Xcompiler=${flag}")
  endif()
endforeach()

set(HOLDFAST_CUDA_FOUND ON)
message(STATUS "CUDA back end: ${HOLDFAST_NVCC} ${CMAKE_CUDA_COMPILER_VERSION}, headers ${HOLDFAST_CUDA_INCLUDE}")

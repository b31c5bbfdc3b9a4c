# Eigen comes in through the build and is never committed: from the pinned build requirement in a
# clone, from _vendor/ in an sdist (copied there when the sdist is made), or from the system.
set(RETEMPER_EIGEN_VERSION 3.4.1)
option(RETEMPER_SYSTEM_EIGEN "accept any Eigen 3.4.x of the system" OFF)

set(_vendored ${CMAKE_CURRENT_LIST_DIR}/../_vendor/eigen)
if(EXISTS ${_vendored}/Eigen/Core)
  set(RETEMPER_EIGEN_INCLUDE ${_vendored})
elseif(RETEMPER_SYSTEM_EIGEN)
  find_package(Eigen3 3.4 CONFIG REQUIRED)
else()
  find_package(Eigen3 ${RETEMPER_EIGEN_VERSION} EXACT CONFIG QUIET
               PATH_SUFFIXES cmeel.prefix/share/eigen3/cmake)
  if(NOT TARGET Eigen3::Eigen)
    message(FATAL_ERROR "Eigen ${RETEMPER_EIGEN_VERSION} not found. Install it with "
                        "`pip install cmeel-eigen==${RETEMPER_EIGEN_VERSION}`, or accept the "
                        "system's Eigen 3.4 with -DRETEMPER_SYSTEM_EIGEN=ON.")
  endif()
endif()
if(NOT RETEMPER_EIGEN_INCLUDE)
  get_target_property(RETEMPER_EIGEN_INCLUDE Eigen3::Eigen INTERFACE_INCLUDE_DIRECTORIES)
endif()

# trust the headers, not the folder they came from
file(STRINGS ${RETEMPER_EIGEN_INCLUDE}/Eigen/src/Core/util/Macros.h _version
     REGEX "#define EIGEN_(WORLD|MAJOR|MINOR)_VERSION")
string(REGEX REPLACE "[^0-9;]" "" _version "${_version}")
string(REPLACE ";" "." _version "${_version}")
if(NOT RETEMPER_SYSTEM_EIGEN AND NOT _version VERSION_EQUAL RETEMPER_EIGEN_VERSION)
  message(FATAL_ERROR "Eigen ${_version} found, ${RETEMPER_EIGEN_VERSION} wanted")
endif()

add_library(retemper_eigen INTERFACE)
target_include_directories(retemper_eigen SYSTEM INTERFACE ${RETEMPER_EIGEN_INCLUDE})
# Memory passes between libraries of different instruction sets: all must align it as the widest.
target_compile_definitions(
  retemper_eigen INTERFACE EIGEN_MPL2_ONLY EIGEN_DONT_PARALLELIZE EIGEN_MAX_ALIGN_BYTES=64
                           EIGEN_MAX_STATIC_ALIGN_BYTES=64 RETEMPER_EIGEN="${_version}")
if(SKBUILD_STATE STREQUAL "sdist" AND NOT EXISTS ${_vendored}/Eigen/Core)
  file(COPY ${RETEMPER_EIGEN_INCLUDE}/Eigen DESTINATION ${_vendored})
endif()

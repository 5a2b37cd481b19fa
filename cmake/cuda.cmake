# Decides whether CUDA is built, and for which GPUs. Reads USF_CUDA_MODE (AUTO, ON, OFF) and sets
#   USF_CUDA             TRUE when the .cu files are compiled
#   USF_CUDA_REASON      one phrase for build_info(): what was built, or why not
#   USF_CUDA_ARCHS_TEXT  the architectures, separated by spaces
# and CMAKE_CUDA_ARCHITECTURES.
set(USF_CUDA FALSE)
set(USF_CUDA_ARCHS_TEXT "")
if(USF_CUDA_MODE STREQUAL "OFF")
  set(USF_CUDA_REASON "built with UNSUPFAST_CUDA=OFF")
  return()
endif()

find_program(USF_NVCC nvcc
  HINTS ENV CUDACXX ENV CUDA_HOME ENV CUDA_PATH PATH_SUFFIXES bin PATHS /usr/local/cuda/bin)
if(NOT USF_NVCC)
  if(USF_CUDA_MODE STREQUAL "ON")
    message(FATAL_ERROR "UNSUPFAST_CUDA=ON, but nvcc was not found (looked in PATH, CUDA_HOME, /usr/local/cuda/bin)")
  endif()
  set(USF_CUDA_REASON "no nvcc when this was built (UNSUPFAST_CUDA=AUTO)")
  return()
endif()

if(USF_CUDA_MODE STREQUAL "AUTO")
  # Only the GPUs that are in this machine: quick to build, and nothing to build where there is none.
  set(caps "")
  find_program(USF_NVIDIA_SMI nvidia-smi)
  if(USF_NVIDIA_SMI)
    execute_process(COMMAND "${USF_NVIDIA_SMI}" --query-gpu=compute_cap --format=csv,noheader
                    OUTPUT_VARIABLE caps RESULT_VARIABLE status ERROR_QUIET)
    if(NOT status EQUAL 0)
      set(caps "")
    endif()
  endif()
  string(REGEX MATCHALL "[0-9]+\\.[0-9]+" caps "${caps}")
  list(REMOVE_DUPLICATES caps)
  set(archs "")
  foreach(cap ${caps})
    if(cap VERSION_LESS 8.0)
      continue()
    endif()
    string(REPLACE "." "" arch "${cap}")
    if(arch STREQUAL "90")
      set(arch 90a)  # wgmma and TMA
    endif()
    list(APPEND archs ${arch}-real)
  endforeach()
  if(NOT archs)
    set(USF_CUDA_REASON "no GPU of compute capability 8.0 or more when this was built (UNSUPFAST_CUDA=AUTO)")
    return()
  endif()
endif()

set(CMAKE_CUDA_COMPILER "${USF_NVCC}")
find_package(CUDAToolkit REQUIRED)
if(USF_CUDA_MODE STREQUAL "ON")
  # SASS for Ampere and Ada (8.x), Hopper, Blackwell (10.x, 12.x); PTX of the 10.0 feature set for
  # 11.x and for what comes later. An older toolkit ends with Hopper's PTX.
  if(CUDAToolkit_VERSION VERSION_GREATER_EQUAL 12.8)
    set(archs 80-real 90a-real 100-real 100-virtual 120-real)
  else()
    set(archs 80-real 90a-real 90-virtual)
  endif()
endif()
set(CMAKE_CUDA_ARCHITECTURES ${archs})
enable_language(CUDA)
set(USF_CUDA TRUE)
list(JOIN archs " " USF_CUDA_ARCHS_TEXT)
set(USF_CUDA_REASON "CUDA ${CUDAToolkit_VERSION} for ${USF_CUDA_ARCHS_TEXT}")

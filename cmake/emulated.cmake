# The CUDA sources as C++, with headers of the same names as CUDA's: csrc/cuda/emulated.
set(emulated "${csrc}/cuda/emulated")
file(GLOB usf_emulator CONFIGURE_DEPENDS "${emulated}/*.cpp")
add_library(usf_emulated OBJECT ${usf_cuda_sources} ${usf_emulator})
set_source_files_properties(${usf_cuda_sources} PROPERTIES LANGUAGE CXX)
target_include_directories(usf_emulated PRIVATE "${emulated}" "${csrc}")
target_compile_definitions(usf_emulated PRIVATE "UNSUPFAST_CUDA_ARCHS=\"80-real 90a-real\"")
# CUDA's compiler makes multiply-adds as well
set(emulate -O2 -Wno-unknown-pragmas -Wno-sign-compare -ffp-contract=fast ${usf_flags_avx2})
if(UNSUPFAST_SANITIZE STREQUAL "ON")
  list(APPEND emulate -fno-sanitize=undefined)  # or it takes twice the time
elseif(UNSUPFAST_SANITIZE STREQUAL "thread")
  # the kernels, not what plays the GPU
  target_compile_definitions(usf_emulated PRIVATE UNSUPFAST_RACES=1)
  set_source_files_properties(${usf_cuda_sources} "${emulated}/products.cpp" PROPERTIES
    COMPILE_OPTIONS "-fsanitize=thread;-g")
endif()
target_compile_options(usf_emulated PRIVATE
  -x c++ $<TARGET_PROPERTY:usf_common,INTERFACE_COMPILE_OPTIONS> ${emulate})
target_link_libraries(_core PRIVATE $<TARGET_OBJECTS:usf_emulated>)

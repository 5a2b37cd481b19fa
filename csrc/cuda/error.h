// CUDA errors become exceptions that say what happened and what to do about it.
#pragma once
#include <cuda_runtime_api.h>

#include <stdexcept>
#include <string>

namespace unsupfast::cuda {

// What to do about the errors that a user can do something about; null for the others.
inline const char* advice(cudaError_t error) {
    switch (error) {
        case cudaErrorNoDevice:
            return "no GPU is visible: check nvidia-smi and CUDA_VISIBLE_DEVICES, or use device='cpu'";
        case cudaErrorInsufficientDriver:
            return "the driver is missing or older than this build's CUDA: install a newer driver, or use "
                   "device='cpu'";
        case cudaErrorInvalidDevice:
            return "there are fewer GPUs than this: see unsupfast.build_info()";
        case cudaErrorMemoryAllocation:
            return "use a smaller batch_size or precision='bfloat16', or free what else holds GPU memory";
        case cudaErrorNoKernelImageForDevice:
        case cudaErrorInvalidKernelImage:
        case cudaErrorUnsupportedPtxVersion:
            return "this build has no code for this GPU: build again on this machine with UNSUPFAST_CUDA=AUTO, "
                   "or with UNSUPFAST_CUDA=ON for every GPU";
        case cudaErrorInitializationError:
            return "CUDA does not work in a process forked after its first use: start processes with 'spawn', or "
                   "use the GPU in the children only";
        case cudaErrorDevicesUnavailable:
            return "the GPU is held exclusively by another process, or its compute mode forbids use";
        case cudaErrorSystemDriverMismatch:
        case cudaErrorCompatNotSupportedOnDevice:
            return "the driver's kernel module and its libraries do not match: restart the machine after a driver "
                   "update";
        case cudaErrorIllegalAddress:
        case cudaErrorLaunchFailure:
        case cudaErrorMisalignedAddress:
        case cudaErrorIllegalInstruction:
            return "an earlier kernel of this process failed and the GPU cannot be used in it any more; please "
                   "report this";
        default:
            return nullptr;
    }
}

inline std::string explain(cudaError_t error) {
    std::string text = std::string(cudaGetErrorString(error)) + " (" + cudaGetErrorName(error) + ")";
    if (const char* hint = advice(error)) text += std::string("; ") + hint;
    return text;
}

inline void check(cudaError_t error, const char* doing) {
    if (error == cudaSuccess) return;
    (void)cudaGetLastError();  // or the next call that asks for the last error would report this one again
    throw std::runtime_error(std::string("CUDA: ") + doing + ": " + explain(error));
}

}  // namespace unsupfast::cuda

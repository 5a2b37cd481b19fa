// The extension module unsupfast._core: what was built, threads and instruction sets.
#include "bind/common.h"
#include "parallel.h"
#include "registry.h"

namespace unsupfast::bind {
void bind_ops(py::module_&);
void bind_chain(py::module_&);
void bind_classes(py::module_&);
void bind_contrast(py::module_&);
void bind_conv(py::module_&);
void bind_rbm(py::module_&);
void bind_dbm(py::module_&);
void bind_elementwise(py::module_&);
void bind_network(py::module_&);
void bind_gpu_array(py::module_&);
}  // namespace unsupfast::bind

PYBIND11_MODULE(_core, m) {
    using namespace unsupfast;
    namespace py = pybind11;
    m.doc() = "Compiled core of unsupfast.";

    m.def("get_num_threads", &num_threads, "Threads that kernels run on.");
    m.def("set_num_threads", &set_num_threads, py::arg("n"),
          "Sets the number of threads; n <= 0 means all processors this process may run on.");
    m.def("get_isa", [] { return std::string(backend_name(active_isa())); }, "The instruction set in use.");
    m.def("set_isa", &set_isa, py::arg("name"), "Selects ref, base, avx2, avx512 or avx512bf16.");
    m.def(
        "catalogue",
        [] {
            std::map<std::string, std::vector<std::string>> ops;
            for (const auto& entry : catalogue()) {
                auto& backends = ops[entry.op];
                for (int b = 0; b < kBackends; ++b)
                    if (entry.has[size_t(b)]) backends.push_back(backend_name(Backend(b)));
            }
            return ops;
        },
        "Every operation and the backends that have a kernel for it.");
    m.def(
        "available_isas",
        [] {
            const Backend before = active_isa();
            std::vector<std::string> names;
            for (int b = 0; b < int(Backend::cuda); ++b) try {
                    set_isa(backend_name(Backend(b)));
                    names.push_back(backend_name(Backend(b)));
                } catch (const std::invalid_argument&) {
                }
            set_isa(backend_name(before));
            return names;
        },
        "Instruction sets that this build and processor can run, slowest first.");
    m.def(
        "build_facts",
        [] {
            py::dict d;
            d["version"] = UNSUPFAST_VERSION;
            d["compiler"] = UNSUPFAST_COMPILER;
            d["flags"] = UNSUPFAST_FLAGS;
            d["build_type"] = UNSUPFAST_BUILD_TYPE;
            d["built_isas"] = UNSUPFAST_ISAS;
            d["sanitizers"] = UNSUPFAST_SANITIZERS;
            d["cuda_reason"] = UNSUPFAST_CUDA_REASON;
#if defined(UNSUPFAST_HAS_CUDA)
            d["cuda_built"] = true;
            d["cuda_archs"] = UNSUPFAST_CUDA_ARCHS;
            d["cuda_version"] = UNSUPFAST_CUDA_VERSION;
#else
            d["cuda_built"] = false;
#endif
            return d;
        },
        "How this extension was built.");

    bind::bind_gpu_array(m);
    bind::bind_ops(m);
    bind::bind_chain(m);
    bind::bind_classes(m);
    bind::bind_contrast(m);
    bind::bind_conv(m);
    bind::bind_elementwise(m);
    bind::bind_rbm(m);
    bind::bind_dbm(m);
    bind::bind_network(m);
}

/* Stubs of CUDA's libraries for machines without a GPU: device memory is host memory, a launch does nothing, and all other
 * calls succeed. Enough for onnxruntime to open a session, which is when it assigns nodes to providers; results are wrong.
 * check.ts adds a function that returns 0 for each name that is missing here. */
#include <driver_types.h>
#include <stdlib.h>
#include <string.h>

/* Properties of an A100 that sessions read. */
enum { MAJOR = 8, MINOR = 0, PROCESSORS = 108 };
static const size_t MEMORY = 16ull << 30;

static int allocate(void **p, size_t n) { return posix_memalign(p, 256, n ? n : 1) ? cudaErrorMemoryAllocation : 0; }
/* Callers never read what a handle points to. */
static int handle(void **p) { return (*p = calloc(1, 4096)) ? 0 : cudaErrorMemoryAllocation; }

int cudaGetDevice(int *device) { return *device = 0; }
int cudaGetDeviceCount(int *count) { *count = 1; return 0; }
int cudaDriverGetVersion(int *version) { *version = 13000; return 0; }
int cudaRuntimeGetVersion(int *version) { *version = 13000; return 0; }
int cudaGetDeviceProperties(struct cudaDeviceProp *p, int device) {
  memset(p, 0, sizeof *p);
  p->totalGlobalMem = MEMORY;
  p->major = MAJOR;
  p->minor = MINOR;
  p->multiProcessorCount = PROCESSORS;
  p->warpSize = 32;
  p->maxThreadsPerBlock = 1024;
  p->maxThreadsPerMultiProcessor = 2048;
  p->sharedMemPerBlock = 48 << 10;
  p->sharedMemPerBlockOptin = 163 << 10;
  p->sharedMemPerMultiprocessor = 164 << 10;
  p->regsPerBlock = 65536;
  p->l2CacheSize = 40 << 20;
  return 0;
}
int cudaDeviceGetAttribute(int *value, enum cudaDeviceAttr attribute, int device) {
  *value = attribute == cudaDevAttrComputeCapabilityMajor   ? MAJOR
           : attribute == cudaDevAttrComputeCapabilityMinor ? MINOR
           : attribute == cudaDevAttrMultiProcessorCount    ? PROCESSORS
           : attribute == cudaDevAttrWarpSize               ? 32
                                                            : 1024;
  return 0;
}
int cudaFuncGetAttributes(struct cudaFuncAttributes *a, const void *function) {
  memset(a, 0, sizeof *a);
  a->maxThreadsPerBlock = 1024;
  a->binaryVersion = a->ptxVersion = 10 * MAJOR + MINOR;
  return 0;
}
int cudaPointerGetAttributes(struct cudaPointerAttributes *a, const void *p) {
  memset(a, 0, sizeof *a);
  a->type = cudaMemoryTypeDevice;
  return 0;
}
int cudaOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(int *blocks) { *blocks = 1; return 0; }
int cudaStreamIsCapturing(void *stream, int *status) { return *status = 0; }

int cudaMalloc(void **p, size_t n) { return allocate(p, n); }
int cudaMallocHost(void **p, size_t n) { return allocate(p, n); }
int cudaHostAlloc(void **p, size_t n, unsigned flags) { return allocate(p, n); }
int cudaMallocFromPoolAsync(void **p, size_t n, void *pool, void *stream) { return allocate(p, n); }
int cudaFree(void *p) { free(p); return 0; }
int cudaFreeHost(void *p) { free(p); return 0; }
int cudaFreeAsync(void *p, void *stream) { free(p); return 0; }
int cudaMemcpy(void *to, const void *from, size_t n, int kind) { memcpy(to, from, n); return 0; }
int cudaMemcpyAsync(void *to, const void *from, size_t n, int kind, void *stream) { memcpy(to, from, n); return 0; }
int cudaMemset(void *p, int value, size_t n) { memset(p, value, n); return 0; }
int cudaMemsetAsync(void *p, int value, size_t n, void *stream) { memset(p, value, n); return 0; }
int cudaMemGetInfo(size_t *unused, size_t *all) { *unused = *all = MEMORY; return 0; }

int cudaStreamCreate(void **p) { return handle(p); }
int cudaStreamCreateWithFlags(void **p) { return handle(p); }
int cudaEventCreate(void **p) { return handle(p); }
int cudaEventCreateWithFlags(void **p) { return handle(p); }
int cudaMemPoolCreate(void **p) { return handle(p); }
int cublasCreate_v2(void **p) { return handle(p); }
int cublasLtCreate(void **p) { return handle(p); }
int cublasLtMatmulDescCreate(void **p) { return handle(p); }
int cublasLtMatrixLayoutCreate(void **p) { return handle(p); }
int cublasLtMatmulPreferenceCreate(void **p) { return handle(p); }
int cublasLtMatrixTransformDescCreate(void **p) { return handle(p); }
int cublasGetMathMode(void *cublas, int *mode) { return *mode = 0; }

const char *cudaGetErrorString(int error) { return "stub without a GPU"; }
const char *cudaGetErrorName(int error) { return "none"; }
const char *cublasGetStatusString(int status) { return "stub without a GPU"; }
const char *cublasGetStatusName(int status) { return "none"; }
void **__cudaRegisterFatBinary(void *binary) { static void *kernels[4]; return kernels; }

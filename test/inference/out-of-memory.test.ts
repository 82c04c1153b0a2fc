import { expect, it } from "vitest";
import { InferenceError } from "../../src/inference/errors.ts";

/** As the runtimes say it. */
it.each([
  "/onnxruntime_src/onnxruntime/core/framework/bfc_arena.cc:376 void* onnxruntime::BFCArena::AllocateRawInternal(size_t, bool) Failed to allocate memory for requested buffer of size 411041792",
  "CUDA failure 2: out of memory ; GPU=0 ; hostname=h ; expr=cudaMalloc((void**)&p, size);",
  "CUBLAS failure 3: CUBLAS_STATUS_ALLOC_FAILED ; GPU=0",
  "CUDNN_STATUS_ALLOC_FAILED",
  "std::bad_alloc",
  "Buffer size (4294967296) exceeds the max buffer size limit (2147483648)",
  "cudaErrorMemoryAllocation",
  "Out of memory: vkAllocateMemory failed with VK_ERROR_OUT_OF_DEVICE_MEMORY",
  "VK_ERROR_OUT_OF_HOST_MEMORY",
  "D3D12 create resource failed with E_OUTOFMEMORY (0x8007000E)",
  "Array buffer allocation failed",
  "WebAssembly.Memory(): could not allocate memory: Out of memory",
])("recognizes %s as a lack of memory", (message) => {
  expect(new InferenceError(`the model failed to run: ${message}`).outOfMemory).toBe(true);
  expect(new InferenceError("the model failed to run", { cause: new Error(message) }).outOfMemory).toBe(true);
});

it.each([
  "Got invalid dimensions for input: pixels for the following indices index: 2 Got: 16 Expected: 224",
  "Non-zero status code returned while running MatMul node",
  "the inference thread ended with code 1",
  "the model returned 1×3, expected 3 classes for 1 windows of 224×224",
  "CUDA failure 700: an illegal memory access was encountered ; GPU=0",
  "Failed to create a device: memory info is missing",
])("does not recognize %s as a lack of memory", (message) => {
  expect(new InferenceError(message).outOfMemory).toBe(false);
  expect(new InferenceError("it failed", { cause: new TypeError(message) }).outOfMemory).toBe(false);
});

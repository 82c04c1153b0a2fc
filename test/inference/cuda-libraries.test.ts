import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { findMissingCudaLibraries } from "../../src/inference/node/cuda-libraries.ts";
import { writeSharedLibrary } from "../builders/shared-library.ts";

const directory = mkdtempSync(join(tmpdir(), "tilewright-cuda-"));
afterAll(() => rmSync(directory, { recursive: true }));

/** An installation whose provider needs a library that no machine has. */
function needing(library: string): string {
  const runtime = join(directory, library);
  writeSharedLibrary(provider(runtime), library);
  return runtime;
}

function provider(runtime: string): string {
  const path = join(runtime, "bin/napi-v6/linux/x64/libonnxruntime_providers_cuda.so");
  mkdirSync(dirname(path), { recursive: true });
  return path;
}

describe.runIf(process.platform === "linux" && process.arch === "x64")("findMissingCudaLibraries", () => {
  it("names the command that installs the provider", () => {
    const runtime = join(directory, "none");
    expect(findMissingCudaLibraries(runtime)).toContain(
      `"ONNXRUNTIME_NODE_INSTALL=cuda12 node ${join(runtime, "script/install.js")}"`,
    );
  });

  it.each([
    ["libcublasLt.so.99", "CUDA lacks libcublasLt.so.99: install CUDA 99's libraries and cuDNN 9"],
    ["libcudart.so.98", "install CUDA 98's libraries"],
    ["libcurand.so.97", "CUDA lacks libcurand.so.97: install CUDA's libraries"],
    // One that no driver has, so that this passes on a machine with a GPU too.
    ["libcuda.so.96", "CUDA finds no NVIDIA driver (libcuda.so.96)"],
  ])("is %s", (library, sentence) => {
    expect(findMissingCudaLibraries(needing(library))).toContain(sentence);
  });

  it("returns the message of the system for other errors", () => {
    const runtime = join(directory, "broken");
    writeFileSync(provider(runtime), "no library");
    expect(findMissingCudaLibraries(runtime)).toMatch(
      /does not load \(.*(invalid ELF header|file too short)/,
    );
  });

  it("blames no library if the provider loads after all", () => {
    expect(findMissingCudaLibraries(needing("libc.so.6"))).toMatch(
      /^onnxruntime's CUDA provider does not load/,
    );
  });
});

/**
 * Checks without a GPU that onnxruntime assigns every operator of the bundled models to CUDA. It loads the CUDA provider
 * from PyPI over stub libraries that allocate memory and compute nothing (cuda-stub.c): onnxruntime assigns operators when it
 * opens a session. Needs Linux on x64, Python and a C compiler, and downloads 200 MB. Skips where these are missing;
 * TILEWRIGHT_NEEDS_CUDA_CHECK=1 turns a skip into an error.
 */
import { execFileSync } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const COMPILER = process.env.CC ?? "cc";
/** Headers that cuda-stub.c needs, of the CUDA version in the image. */
const HEADERS = ["nvidia-cuda-runtime==13.0.*", "nvidia-cuda-crt==13.0.*"];
const here = (name: string) => fileURLToPath(new URL(name, import.meta.url));

const why = missing();
if (why) {
  console.log(`skipped the check of CUDA's operators: ${why}`);
  process.exit(process.env.TILEWRIGHT_NEEDS_CUDA_CHECK ? 1 : 0);
}
const directory = mkdtempSync(join(tmpdir(), "tilewright-cuda-"));
try {
  const runtime = runtimeWithProvider();
  const libraries = compileLibraries(join(runtime, "bin/napi-v6/linux/x64/libonnxruntime_providers_cuda.so"));
  execFileSync(process.execPath, ["--import", here("stub-runtime.ts"), here("open-all-graphs.ts")], {
    stdio: "inherit",
    env: { ...process.env, TILEWRIGHT_STUB_RUNTIME: runtime, LD_LIBRARY_PATH: libraries },
  });
} finally {
  rmSync(directory, { recursive: true });
}

/** @returns a copy of onnxruntime-node with the CUDA provider of the same version */
function runtimeWithProvider(): string {
  const own = dirname(createRequire(import.meta.url).resolve("onnxruntime-node/package.json"));
  const { version } = JSON.parse(readFileSync(join(own, "package.json"), "utf8"));
  run("python3", "-m", "venv", join(directory, "venv"));
  for (const requirement of [`onnxruntime-gpu==${version}`, ...HEADERS]) {
    const wheels = join(directory, requirement.split("=")[0]!);
    const where = ["--dest", wheels, "--no-deps", "--only-binary", ":all:"];
    const whose = ["--python-version", "3.12", "--platform", "manylinux_2_28_x86_64"];
    const others = ["manylinux_2_17_x86_64", "manylinux2014_x86_64"].flatMap((p) => ["--platform", p]);
    run(
      join(directory, "venv/bin/pip"),
      "--disable-pip-version-check",
      "download",
      "--quiet",
      ...where,
      ...whose,
      ...others,
      requirement,
    );
    run(
      "python3",
      "-c",
      "import sys, glob, zipfile; zipfile.ZipFile(glob.glob(sys.argv[1])[0]).extractall(sys.argv[2])",
      join(wheels, "*.whl"),
      join(directory, "wheels"),
    );
  }
  const runtime = join(directory, "node_modules/onnxruntime-node");
  mkdirSync(runtime, { recursive: true });
  symlinkSync(join(own, "../onnxruntime-common"), join(directory, "node_modules/onnxruntime-common"));
  for (const part of ["package.json", "dist", "bin/napi-v6/linux/x64"]) {
    cpSync(join(own, part), join(runtime, part), { recursive: true });
  }
  for (const part of ["cuda", "shared"]) {
    const name = `libonnxruntime_providers_${part}.so`;
    cpSync(join(directory, "wheels/onnxruntime/capi", name), join(runtime, "bin/napi-v6/linux/x64", name));
  }
  return runtime;
}

/** @returns the directory with a stub for each CUDA library that the provider links */
function compileLibraries(provider: string): string {
  const libraries = join(directory, "libraries");
  mkdirSync(libraries);
  const needed = [...run("readelf", "--dynamic", provider).matchAll(/NEEDED.*\[(libcu\w+\.so\.\d+)\]/g)];
  const functions = run("nm", "--dynamic", "--undefined-only", provider)
    .split("\n")
    .map((line) => line.trim().split(/\s+/).at(-1)!.split("@")[0]!)
    .filter((name) => /^(__cuda|cuda|cublas|curand|cu[A-Z])/.test(name));
  const written = readFileSync(here("cuda-stub.c"), "utf8");
  const others = functions.filter((name) => !new RegExp(`\\b${name}\\(`).test(written));
  const source = join(directory, "cuda.c");
  writeFileSync(source, `${written}${others.map((name) => `int ${name}() { return 0; }\n`).join("")}`);
  for (const [, name] of needed) {
    // The provider's symbols are versioned with the library's name.
    const script = join(directory, `${name}.map`);
    writeFileSync(script, `${name} { global: *; };\n`);
    const linked = [`-Wl,-soname,${name}`, `-Wl,--version-script,${script}`];
    const headers = ["-I", join(directory, "wheels/nvidia/cu13/include")];
    run(COMPILER, "-w", "-shared", "-fPIC", ...headers, ...linked, "-o", join(libraries, name!), source);
  }
  return libraries;
}

function run(program: string, ...args: string[]): string {
  return execFileSync(program, args, {
    encoding: "utf8",
    stdio: ["ignore", "pipe", "inherit"],
    maxBuffer: 1 << 26,
  });
}

function missing(): string | undefined {
  if (process.platform !== "linux" || process.arch !== "x64") return "it needs Linux on x64";
  for (const program of ["python3", COMPILER, "nm", "readelf"]) {
    try {
      execFileSync(program, ["--version"], { stdio: "ignore" });
    } catch {
      return `${program} is not installed`;
    }
  }
  return undefined;
}

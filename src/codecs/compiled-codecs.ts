export type CodecName = "jpeg" | "jpeg2000" | "jpegls" | "zstd";

/**
 * Provides the compiled WebAssembly of a codec. Needed where code may not be compiled from bytes (Cloudflare
 * Workers): there the bundler imports the `.wasm` as a module. In Node the codecs load their own file.
 */
export type CodecModuleLoader = (codec: CodecName) => WebAssembly.Module | Promise<WebAssembly.Module>;

let loadModule: CodecModuleLoader | undefined;

/** Call once, before the first image is opened. */
export function setCodecModuleLoader(loader: CodecModuleLoader): void {
  loadModule = loader;
}

/** The code that `setCodecModuleLoader` provides, if it was called. */
export async function compiledCodec(codec: CodecName): Promise<WebAssembly.Module | undefined> {
  return loadModule?.(codec);
}

/** Options of an Emscripten module, so that it finds its code. `print` receives each line that the codec prints. */
export async function emscriptenOptions(codec: CodecName, print: (line: string) => void): Promise<object> {
  const options = { print, printErr: print };
  const compiled = await compiledCodec(codec);
  if (compiled === undefined) return options;
  return {
    ...options,
    instantiateWasm(imports: WebAssembly.Imports, done: (instance: WebAssembly.Instance) => void) {
      const instance = new WebAssembly.Instance(compiled, imports);
      done(instance);
      return instance.exports;
    },
  };
}

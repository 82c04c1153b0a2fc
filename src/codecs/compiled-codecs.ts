export type CodecName = "jpeg" | "jpeg2000" | "htj2k" | "jpegls" | "zstd";

/**
 * Gives the compiled WebAssembly of a codec. Needed where code may not be compiled from bytes (Cloudflare Workers):
 * there the bundler imports the `.wasm` as a module. In Node the codecs find the file beside themselves.
 */
export type CodecModuleLoader = (codec: CodecName) => WebAssembly.Module | Promise<WebAssembly.Module>;

let loadModule: CodecModuleLoader | undefined;

/** Call once, before the first image is opened. */
export function setCodecModuleLoader(loader: CodecModuleLoader): void {
  loadModule = loader;
}

/** What an Emscripten module is made with, so that it finds its code. `print` gets what the codec prints, line by line. */
export async function emscriptenOptions(codec: CodecName, print: (line: string) => void): Promise<object> {
  const options = { print, printErr: print };
  if (loadModule === undefined) return options;
  const compiled = await loadModule(codec);
  return {
    ...options,
    instantiateWasm(imports: WebAssembly.Imports, done: (instance: WebAssembly.Instance) => void) {
      const instance = new WebAssembly.Instance(compiled, imports);
      done(instance);
      return instance.exports;
    },
  };
}

import charLsUrl from "@cornerstonejs/codec-charls/decodewasm?url";
import jpegTurboUrl from "@cornerstonejs/codec-libjpeg-turbo-8bit/decodewasm?url";
import openJpegUrl from "@cornerstonejs/codec-openjpeg/decodewasm?url";
import { type CodecName, setCodecModuleLoader } from "../../../src/codecs/compiled-codecs.ts";

const ADDRESSES: Record<CodecName, string> = {
  jpeg: jpegTurboUrl,
  jpeg2000: openJpegUrl,
  jpegls: charLsUrl,
  zstd: new URL("../../../src/codecs/zstd.wasm", import.meta.url).href,
};

const compiled = new Map<CodecName, Promise<WebAssembly.Module>>();

/** Lets the codecs find their WebAssembly: each is loaded when the first image needs it. */
export function registerCodecModules(): void {
  setCodecModuleLoader(loadCodecModule);
}

export function loadCodecModule(codec: CodecName): Promise<WebAssembly.Module> {
  let module = compiled.get(codec);
  if (module === undefined) {
    module = WebAssembly.compileStreaming(fetch(ADDRESSES[codec]));
    compiled.set(codec, module);
    // The next image tries again.
    module.catch(() => compiled.delete(codec));
  }
  return module;
}

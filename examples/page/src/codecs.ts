import charLs from "@cornerstonejs/codec-charls/decodewasm?url";
import jpegTurbo from "@cornerstonejs/codec-libjpeg-turbo-8bit/decodewasm?url";
import openJpeg from "@cornerstonejs/codec-openjpeg/decodewasm?url";
import { type CodecName, setCodecModuleLoader } from "tilewright/readers";
import zstd from "tilewright/zstd.wasm?url";

const URLS: Record<CodecName, string> = {
  jpeg: jpegTurbo,
  jpeg2000: openJpeg,
  jpegls: charLs,
  zstd,
};

/** Compressed pictures need compiled codecs, which the bundler serves as files. Each is loaded when it is first needed. */
setCodecModuleLoader((codec) => WebAssembly.compileStreaming(fetch(URLS[codec])));

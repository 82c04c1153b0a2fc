// The codec packages ship no types. Only what codecs.ts uses is declared.
declare module "@cornerstonejs/codec-libjpeg-turbo-8bit/decodewasmjs" {
  // biome-ignore lint/suspicious/noExplicitAny: an Emscripten module, narrowed to `Decoder` where it is made
  export default function create(options?: object): Promise<any>;
}
declare module "@cornerstonejs/codec-openjpeg/decodewasmjs" {
  // biome-ignore lint/suspicious/noExplicitAny: an Emscripten module, narrowed to `Decoder` where it is made
  export default function create(options?: object): Promise<any>;
}

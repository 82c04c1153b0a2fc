declare module "@cornerstonejs/codec-openjph/wasmjs" {
  // biome-ignore lint/suspicious/noExplicitAny: an Emscripten module, of which make-htj2k.ts uses the encoder
  export default function create(options?: object): Promise<any>;
}

// The codec packages ship no types, or none that resolve. Only what decoders.ts uses is declared.
declare module "@cornerstonejs/codec-libjpeg-turbo-8bit/decodewasmjs" {
  // biome-ignore lint/suspicious/noExplicitAny: an Emscripten module, narrowed to `Decoder` where it is made
  export default function create(options?: object): Promise<any>;
}
declare module "@cornerstonejs/codec-openjpeg/decodewasmjs" {
  // biome-ignore lint/suspicious/noExplicitAny: an Emscripten module, narrowed to `Decoder` where it is made
  export default function create(options?: object): Promise<any>;
}
declare module "@cornerstonejs/codec-charls/decodewasmjs" {
  // biome-ignore lint/suspicious/noExplicitAny: an Emscripten module, narrowed to `JpegLsDecoder` where it is made
  export default function create(options?: object): Promise<any>;
}
declare module "dcmjs" {
  export interface DicomElement {
    vr: string;
    Value?: unknown[];
  }
  export type DicomElements = Record<string, DicomElement>;
  const dcmjs: {
    log: { setLevel(level: "silent"): void; getLogger(name: string): { setLevel(level: "silent"): void } };
    data: {
      DicomMessage: {
        readFile(bytes: ArrayBuffer, options: { untilTag: string }): { dict: DicomElements };
      };
      DicomDict: new (meta: DicomElements) => { dict: DicomElements; write(): ArrayBuffer };
      Colors: { rgb2DICOMLAB(rgb: readonly number[]): number[] };
    };
  };
  export default dcmjs;
}

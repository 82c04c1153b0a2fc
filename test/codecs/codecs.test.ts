import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { fileURLToPath } from "node:url";
import { expect, test, vi } from "vitest";
import { FILES, takeZstd } from "../../infra/codecs/take-zstd.ts";
import { makeHtj2k } from "../builders/make-htj2k.ts";

const require = createRequire(import.meta.url);
const fixture = async (name: string) => readFile(new URL(`../readers/fixtures/${name}`, import.meta.url));

const WASM = {
  jpeg: "@cornerstonejs/codec-libjpeg-turbo-8bit/decodewasm",
  jpeg2000: "@cornerstonejs/codec-openjpeg/decodewasm",
  jpegls: "@cornerstonejs/codec-charls/decodewasm",
  zstd: fileURLToPath(new URL("../../src/codecs/zstd.wasm", import.meta.url)),
} as const;

test("decoders run from given compiled modules, as Workers need", async () => {
  vi.resetModules();
  const codecs = await import("../../src/codecs/decoders.ts");
  const asked: string[] = [];
  const { setCodecModuleLoader } = await import("../../src/codecs/compiled-codecs.ts");
  const { loadZstd } = await import("../../src/codecs/zstd.ts");
  setCodecModuleLoader(async (codec) => {
    asked.push(codec);
    return WebAssembly.compile(await readFile(require.resolve(WASM[codec])));
  });
  expect(await codecs.decodeJpeg(await fixture("photo.jpg"))).toMatchObject({
    width: 50,
    height: 40,
    components: 3,
  });
  const { data } = await codecs.decodeJpeg2000((await fixture("aperio-j2k-422.svs")).subarray(8));
  expect(data.length).toBeGreaterThan(0);
  expect(asked).toEqual(["jpeg", "jpeg2000"]);
  // A frame of one raw block (RFC 8878).
  const frame = Uint8Array.of(0x28, 0xb5, 0x2f, 0xfd, 0x20, 3, 0x19, 0, 0, 7, 8, 9);
  expect((await loadZstd())(frame, 3)).toEqual(Uint8Array.of(7, 8, 9));
  const made = { width: 2, height: 2, components: 1, bits: 8, signed: false };
  const htj2k = await makeHtj2k(made, [1, 2, 3, 200]);
  expect([...(await codecs.decodeHtj2k(htj2k)).data]).toEqual([1, 2, 3, 200]);
  expect(asked).toEqual(["jpeg", "jpeg2000", "zstd"]);
});

test("an invalid tile is an error, and the next tile is correct", async () => {
  const { decodeJpeg, decodeJpeg2000 } = await import("../../src/codecs/decoders.ts");
  const jpeg = await fixture("photo.jpg");
  const expected = await decodeJpeg(jpeg);
  await expect(decodeJpeg(jpeg.subarray(0, 600))).rejects.toThrow("JPEG data is damaged");
  await expect(decodeJpeg(new Uint8Array(0))).rejects.toThrow("JPEG data does not begin");
  expect((await decodeJpeg(jpeg)).data).toEqual(expected.data);

  const svs = await fixture("aperio-j2k-422.svs");
  const j2k = svs.subarray(8);
  const whole = await decodeJpeg2000(j2k);
  await expect(decodeJpeg2000(j2k.subarray(0, 300))).rejects.toThrow(
    "a JPEG 2000 tile is damaged or cut short (",
  );
  await expect(decodeJpeg2000(Uint8Array.of(1, 2, 3))).rejects.toThrow("a JPEG 2000 tile is damaged");
  expect((await decodeJpeg2000(j2k)).data).toEqual(whole.data);
});

test("the Zstandard decoder and its licence are those of zstddec: node infra/codecs/take-zstd.ts", async () => {
  const committed = await Promise.all(FILES.map((file) => readFile(file)));
  expect(Buffer.concat(committed).equals(Buffer.concat(await takeZstd()))).toBe(true);
});

import { readFile } from "node:fs/promises";
import { describe, expect, test } from "vitest";
import { decodeJpeg } from "../../src/codecs/decoders.ts";
import { completeJpeg, mcuSize, parseJpegHeader } from "../../src/codecs/jpeg/stream.ts";
import { ImageFormatError } from "../../src/image/errors.ts";

const photo = new Uint8Array(await readFile(new URL("../readers/fixtures/photo.jpg", import.meta.url)));
const header = parseJpegHeader(photo);

/** The photograph without its JFIF marker (the first segment), and with an Adobe marker instead when asked. */
function restated(adobeTransform?: number): Uint8Array {
  const jfifEnd = 4 + ((photo[4]! << 8) | photo[5]!);
  const adobe =
    adobeTransform === undefined
      ? []
      : [0xff, 0xee, 0, 14, 0x41, 0x64, 0x6f, 0x62, 0x65, 0, 100, 0, 0, 0, 0, adobeTransform];
  return Uint8Array.from([0xff, 0xd8, ...adobe, ...photo.subarray(jfifEnd)]);
}

const pixels = async (stream: Uint8Array) => (await decodeJpeg(stream)).data;
const converted = await pixels(photo);
/** Y, Cb, Cr handed out as they are. */
const untouched = await pixels(completeJpeg(restated(), undefined, "rgb"));

describe("parseJpegHeader", () => {
  test("parses the markers", () => {
    expect(header).toMatchObject({
      width: 50,
      height: 40,
      bitsPerSample: 8,
      frame: 0xc0,
      restartInterval: 0,
      jfif: true,
    });
    expect(header.components.map((c) => c.id)).toEqual([1, 2, 3]);
    expect(header.density).toEqual({ unit: "inch", x: 25400, y: 25400 });
    expect(mcuSize(header)).toEqual([16, 16]);
    expect(mcuSize({ ...header, components: [{ id: 1, horizontal: 2, vertical: 2 }] })).toEqual([8, 8]);
    expect(parseJpegHeader(restated(1))).toMatchObject({ jfif: false, adobeTransform: 1 });
  });

  test("rejects a stream that is cut before the scan", () => {
    for (let end = 0; end < header.scanDataOffset; end++) {
      expect(() => parseJpegHeader(photo.subarray(0, end))).toThrow(ImageFormatError);
    }
    expect(() => parseJpegHeader(photo.subarray(0, header.scanDataOffset))).not.toThrow();
  });
});

describe("completeJpeg", () => {
  test.each([
    ["no marker, YCbCr by the tags", restated(), "ycbcr", converted],
    ["no marker, RGB by the tags", restated(), "rgb", untouched],
    ["JFIF wins over RGB by the tags", photo, "rgb", converted],
    ["the tags win over an Adobe marker", restated(1), "rgb", untouched],
    ["the tags win over an Adobe marker, the other way", restated(0), "ycbcr", converted],
    ["nothing stated from outside: the stream's marker", restated(0), undefined, untouched],
    ["nothing stated at all: ids 1, 2, 3 are YCbCr", restated(), undefined, converted],
  ] as const)("%s", async (_, stream, color, expected) => {
    expect(await pixels(completeJpeg(stream, undefined, color))).toEqual(expected);
  });

  test("the two colour readings differ, so the cases above distinguish them", () => {
    expect(untouched).not.toEqual(converted);
  });

  test("does not copy a complete stream", () => {
    expect(completeJpeg(photo, undefined, "ycbcr")).toBe(photo);
  });

  test("adds a missing end marker", async () => {
    expect(await pixels(completeJpeg(photo.subarray(0, -2)))).toEqual(converted);
  });
});

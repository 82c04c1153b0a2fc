import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fromArrayBuffer } from "geotiff";
import { describe, expect, it } from "vitest";
import { openImage } from "../../src/readers/open-image.ts";
import type { ByteRange } from "../../src/storage/byte-source.ts";
import { MemoryStore } from "../../src/storage/memory-store.ts";
import { makeTiff } from "../builders/make-tiff.ts";
import { pattern } from "../builders/pattern.ts";

/** A directory is read with what follows it, so at most the head of a picture comes along. */
const HEAD_BYTES = 1024;
const SLIDE = join(import.meta.dirname, "../../../shared/data/slides/aperio-jpeg/CMU-1-Small-Region.svs");

/** Opens a slide and reads all of it. @returns the ranges that were read */
async function rangesOfReading(file: Uint8Array): Promise<ByteRange[]> {
  const store = new MemoryStore({ "slide.svs": file });
  const ranges: ByteRange[] = [];
  const getRange = store.getRange.bind(store);
  store.getRange = (key, offset, length, options) => {
    ranges.push({ offset, length });
    return getRange(key, offset, length, options);
  };
  const image = await openImage(store, "slide.svs");
  for (const [level, { shape }] of image.levels.entries())
    await image.readRegion(level, { origin: [0, 0], size: shape });
  return ranges;
}

/** Bytes of a part of the file that the ranges hold, the same byte counted once. */
function bytesRead(ranges: readonly ByteRange[], { offset, length }: ByteRange): number {
  const read = new Uint8Array(length);
  for (const range of ranges)
    read.fill(
      1,
      Math.max(0, Math.min(length, range.offset - offset)),
      Math.max(0, range.offset + range.length - offset),
    );
  return read.reduce((sum, byte) => sum + byte, 0);
}

/** The stored pixels of the pages of a TIFF. */
async function pixelsOf(file: Uint8Array): Promise<{ description: string; part: ByteRange }[]> {
  const tiff = await fromArrayBuffer(
    file.buffer.slice(file.byteOffset, file.byteOffset + file.length) as ArrayBuffer,
  );
  const pages: { description: string; part: ByteRange }[] = [];
  for (let i = 0; i < (await tiff.getImageCount()); i++) {
    const { fileDirectory } = await tiff.getImage(i);
    const values = async (name: "StripOffsets" | "StripByteCounts" | "TileOffsets" | "TileByteCounts") =>
      fileDirectory.hasTag(name)
        ? Array.from((await fileDirectory.loadValue(name)) as ArrayLike<number>)
        : [];
    const offsets = [...(await values("StripOffsets")), ...(await values("TileOffsets"))];
    const counts = [...(await values("StripByteCounts")), ...(await values("TileByteCounts"))];
    const offset = Math.min(...offsets);
    const end = Math.max(...offsets.map((at, n) => at + counts[n]!));
    const description = String((await fileDirectory.loadValue("ImageDescription")) ?? "");
    pages.push({ description, part: { offset, length: end - offset } });
  }
  return pages;
}

const isPrivate = (description: string) => /label|macro/.test(description);

describe("label and macro pages", () => {
  it.each([false, true])("are never read from a made slide (BigTIFF: %s)", async (bigTiff) => {
    const photo = (description: string, side: number, tile?: [number, number]) => ({
      image: pattern("uint8", [side, side, 3]),
      description,
      ...(tile && { tile }),
    });
    const file = makeTiff(
      [
        photo("Aperio Image Library v11\r\n512x512 (64x64)|AppMag = 20|MPP = 0.5", 512, [64, 64]),
        photo("Aperio Image Library v11\r\n512x512 -> 128x128|AppMag = 20", 128),
        photo("Aperio Image Library v11\r\nlabel 150x150", 150),
        photo("Aperio Image Library v11\r\nmacro 200x200", 200),
      ],
      { bigTiff },
    );
    const pages = await pixelsOf(file);
    const ranges = await rangesOfReading(file);
    expect(pages).toHaveLength(4);
    expect(bytesRead(ranges, pages[0]!.part)).toBe(pages[0]!.part.length);
    for (const { description, part } of pages)
      if (isPrivate(description)) expect(bytesRead(ranges, part), description).toBeLessThan(HEAD_BYTES);
  });

  it.skipIf(!existsSync(SLIDE))("are never read from a real slide", async () => {
    const file = new Uint8Array(readFileSync(SLIDE));
    const pages = (await pixelsOf(file)).filter(({ description }) => isPrivate(description));
    const ranges = await rangesOfReading(file);
    expect(pages).toHaveLength(2);
    for (const { description, part } of pages)
      expect(bytesRead(ranges, part), description).toBeLessThan(HEAD_BYTES);
  });
});

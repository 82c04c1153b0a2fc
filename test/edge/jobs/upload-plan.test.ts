import fc from "fast-check";
import { expect, it } from "vitest";
import {
  encodeRequest,
  fileName,
  newUploadId,
  parseUploadId,
  partCount,
  partLength,
  partSize,
  uploadKey,
} from "../../../src/edge/jobs/uploads/upload-plan.ts";

const MIB = 2 ** 20;

it("parts cover the file, each of a size that storage and Worker accept", () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 200 * 2 ** 30 }), (byteLength) => {
      const cut = { byteLength, partBytes: partSize(byteLength) };
      const parts = partCount(cut);
      expect(cut.partBytes % (5 * MIB)).toBe(0);
      expect(cut.partBytes).toBeLessThanOrEqual(64 * MIB);
      expect(parts).toBeLessThanOrEqual(10_000);
      const last = partLength(cut, parts)!;
      expect(last).toBeGreaterThan(0);
      expect(last).toBeLessThanOrEqual(cut.partBytes);
      expect((parts - 1) * cut.partBytes + last).toBe(byteLength);
      for (const n of [0, parts + 1, 1.5, Number.NaN]) expect(partLength(cut, n)).toBeUndefined();
    }),
  );
  expect(() => partSize(2 ** 50)).toThrow(/are more than 10000 parts/);
});

it("a valid name gives a key in one folder, from which the upload id is read", () => {
  fc.assert(
    fc.property(fc.string({ unit: "binary" }), (given) => {
      const name = fileName(given);
      if (name === undefined) return;
      expect(fileName(name)).toBe(name);
      const id = newUploadId();
      expect(uploadKey(id, name).split("/")).toEqual(["uploads", id, name]);
      expect(parseUploadId(uploadKey(id, name))).toBe(id);
    }),
  );
  for (const key of ["uploads/x/a", `other/${newUploadId()}/a`, `uploads/${newUploadId()}`, ""]) {
    expect(parseUploadId(key)).toBeUndefined();
  }
  for (const bad of ["", " ", ".", "...", "a/b", "a\\b", "a\u0000b", "a\u202eb", "\ud800"]) {
    expect(fileName(bad)).toBeUndefined();
  }
});

it("an encoded request is ASCII and decodes to the same value", () => {
  fc.assert(
    fc.property(
      fc.dictionary(fc.string({ unit: "grapheme" }), fc.string({ unit: "grapheme" })),
      (request) => {
        const text = encodeRequest(request);
        expect(text).toMatch(/^[ -~]*$/);
        expect(JSON.parse(text)).toEqual(JSON.parse(JSON.stringify(request)));
      },
    ),
  );
});

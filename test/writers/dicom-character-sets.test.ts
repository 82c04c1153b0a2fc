/// <reference path="../../src/codecs/codec-modules.d.ts" />

import type { DicomElements } from "dcmjs";
import { describe, expect, it } from "vitest";
import { element, oneItem, textElement } from "../../src/writers/dicom-seg/elements.ts";
import { sourceAttributes } from "../../src/writers/dicom-seg/source-attributes.ts";

const ESC = 0x1b;

/** A head whose texts are these bytes, at its top and inside of a sequence. */
function headWith(characterSet: string, text: readonly number[], syntax = "1.2.840.10008.1.2.1"): Uint8Array {
  const bytes = Uint8Array.from(text.length & 1 ? [...text, 0x20] : text);
  const meta = [textElement(0x00020010, "UI", syntax)];
  const length = new Uint8Array(4);
  new DataView(length.buffer).setUint32(0, meta[0]!.length, true);
  const parts = [
    new Uint8Array(128),
    new TextEncoder().encode("DICM"),
    element(0x00020000, "UL", length),
    ...meta,
    textElement(0x00080005, "CS", characterSet),
    element(0x00100010, "PN", bytes),
    oneItem(0x00400560, element(0x00400600, "LO", bytes)),
  ];
  return Uint8Array.from(parts.flatMap((part) => [...part]));
}

describe("texts of a source", () => {
  it.each([
    ["ISO_IR 100", [0x4d, 0xfc, 0x6c, 0x6c, 0x65, 0x72], "Müller"],
    ["ISO_IR 192", [0xe5, 0xb1, 0xb1, 0xc3, 0x84, 0x41], "山ÄA"],
    ["ISO_IR 144", [0xbb, 0xee, 0xda], "Люк"],
    ["ISO_IR 101", [0xb3, 0xf3, 0x64, 0xbc], "łódź"],
    ["", [0x41, 0x42], "AB"],
    ["\\ISO 2022 IR 87", [0x59, 0x5e, ESC, 0x24, 0x42, 0x3b, 0x33, ESC, 0x28, 0x42], "Y^山"],
    ["\\ISO 2022 IR 149", [0x48, 0x5e, ESC, 0x24, 0x29, 0x43, 0xb1, 0xe8], "H^김"],
    ["constructor", [0xfc], "ü"],
    ["GB18030", [0xcd, 0xf5], "王"],
  ])("in %s are decoded, also inside sequences", async (characterSet, bytes, text) => {
    const attributes = await sourceAttributes(headWith(characterSet, bytes));
    expect(attributes["00100010"]!.Value![0]).toMatchObject({ Alphabetic: text });
    const inner = attributes["00400560"]!.Value![0] as DicomElements;
    expect(inner["00400600"]!.Value![0]).toBe(text);
  });

  it("of a head that is cut inside its character set are rejected in a sentence", async () => {
    const head = headWith("ISO_IR 100", [0xfc]);
    const at = head.findIndex((byte, i) => byte === 0x43 && head[i + 1] === 0x53);
    await expect(sourceAttributes(head.slice(0, at + 2))).rejects.toThrow(
      "the DICOM header of the source cannot be copied into labels.seg.dcm; choose another output",
    );
  });

  it("of an inflated file", async () => {
    const attributes = await sourceAttributes(headWith("ISO_IR 100", [0xfc], "1.2.840.10008.1.2.1.99"));
    expect(attributes["00100010"]!.Value![0]).toMatchObject({ Alphabetic: "ü" });
  });
});

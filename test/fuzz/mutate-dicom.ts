import type { Dice } from "./dice.ts";
import { concat, type Field, type Mutated } from "./mutate-bytes.ts";
import { ODD_TEXTS, times } from "./mutate-text.ts";

interface Element {
  at: number;
  tag: string;
  vr: string;
  lengthAt: number;
  lengthSize: 2 | 4;
  valueAt: number;
  length: number;
}

const LONG = new Set(["OB", "OD", "OF", "OL", "OV", "OW", "SQ", "UC", "UN", "UR", "UT"]);
const NUMBERS = new Set(["US", "SS", "UL", "SL", "FL", "FD", "AT"]);
const BIG_ENDIAN = "1.2.840.10008.1.2.2";

/** Elements in file order, also those in sequences; stops at invalid ones. */
function elementsOf(bytes: Uint8Array): { elements: Element[]; little: boolean } {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const head = new TextDecoder("latin1").decode(bytes.subarray(0, 1024));
  const isBig = head.includes(`${BIG_ENDIAN}\0`) || head.includes(`${BIG_ENDIAN} `);
  const elements: Element[] = [];
  let at = head.slice(128, 132) === "DICM" ? 132 : 0;
  while (at + 8 <= bytes.length && elements.length < 2000) {
    const little = !isBig || view.getUint16(at, true) === 2;
    const [group, number] = [view.getUint16(at, little), view.getUint16(at + 2, little)];
    const tag = `${group.toString(16)},${number.toString(16)}`;
    if (group === 0xfffe) {
      elements.push({ at, tag, vr: "", lengthAt: at + 4, lengthSize: 4, valueAt: at + 8, length: 0 });
      at += 8;
      continue;
    }
    const text = String.fromCharCode(bytes[at + 4]!, bytes[at + 5]!);
    const explicit = /^[A-Z]{2}$/.test(text);
    const vr = explicit ? text : "";
    const lengthSize = explicit && !LONG.has(vr) ? 2 : 4;
    const lengthAt = explicit && lengthSize === 2 ? at + 6 : explicit ? at + 8 : at + 4;
    const valueAt = lengthAt + lengthSize;
    if (valueAt > bytes.length) break;
    const length = lengthSize === 2 ? view.getUint16(lengthAt, little) : view.getUint32(lengthAt, little);
    elements.push({ at, tag, vr, lengthAt, lengthSize, valueAt, length });
    // Descends into sequences, and skips everything else.
    const isSequence = vr === "SQ" || length === 0xffffffff;
    if (tag === "7fe0,10") break;
    at = isSequence ? valueAt : valueAt + length;
  }
  return { elements, little: !isBig };
}

export function dicomFields(bytes: Uint8Array): Field[] {
  const { elements, little } = elementsOf(bytes);
  return elements.flatMap(({ at, tag, vr, lengthAt, lengthSize, valueAt, length }) => {
    const fields: Field[] = [
      { name: `length of ${tag}`, at: lengthAt, size: lengthSize, little },
      { name: `number of ${tag}`, at: at + 2, size: 2, little },
    ];
    if (vr !== "") fields.push({ name: `VR of ${tag}`, at: at + 4, size: 2, little });
    const size = ([2, 4, 8] as const).find((n) => n === length);
    if (size && (NUMBERS.has(vr) || vr === ""))
      for (let i = 0; i < 3; i++) fields.push({ name: `value of ${tag}`, at: valueAt, size, little });
    return fields;
  });
}

/** Another value, no value, or the element twice, with its new length. */
export function mutateElement(bytes: Uint8Array, dice: Dice): Mutated {
  const { elements, little } = elementsOf(bytes);
  const whole = elements.filter(
    (e) => e.tag !== "7fe0,10" && e.length < 4096 && e.vr !== "SQ" && e.vr !== "",
  );
  if (whole.length === 0) return { bytes, what: "no element" };
  const { at, tag, lengthAt, lengthSize, valueAt, length } = dice.pick(whole);
  const [before, after] = [bytes.subarray(0, at), bytes.subarray(valueAt + length)];
  switch (dice.below(4)) {
    case 0:
      return { bytes: concat(before, after), what: `without ${tag}` };
    case 1: {
      const count = times(dice, valueAt + length - at);
      const element = bytes.subarray(at, valueAt + length);
      return {
        bytes: concat(before, ...new Array<Uint8Array>(count).fill(element), bytes.subarray(at)),
        what: `${tag} ${count} times more`,
      };
    }
    default: {
      const own = new TextDecoder("latin1").decode(bytes.subarray(valueAt, valueAt + length));
      const text = dice.pick([
        ...ODD_TEXTS,
        `${own}\\${own}`,
        own.replace(/\d/g, "9"),
        own.replace(/\\.*/, ""),
      ]);
      const value = new TextEncoder().encode(text.length % 2 === 0 ? text : `${text} `).slice(0, 0xfffe);
      const header = bytes.slice(at, valueAt);
      const view = new DataView(header.buffer);
      if (lengthSize === 2) view.setUint16(lengthAt - at, value.length, little);
      else view.setUint32(lengthAt - at, value.length, little);
      return {
        bytes: concat(before, header, value, after),
        what: `${tag} is ${JSON.stringify(text.slice(0, 30))}`,
      };
    }
  }
}

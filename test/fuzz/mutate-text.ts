import type { Dice } from "./dice.ts";
import type { Mutated } from "./mutate-bytes.ts";

/** Replacements for a text, a number or a name. */
export const ODD_TEXTS = [
  "",
  " ",
  "0",
  "-1",
  "1e400",
  "-0.0",
  "NaN",
  "Infinity",
  "0.5",
  "99999999999999999999",
  "2147483648",
  "4294967295",
  "1000000",
  "__proto__",
  "constructor",
  "../../../etc/passwd",
  "a\\b\\c\\d",
  "x".repeat(300),
  "\u0000",
  "\u202emirror",
  "two\nlines",
  "%s%n",
  "0,5",
  "1.2.3",
] as const;

const MOST_REPEATED_BYTES = 2 << 20;

/** Length of a repetition: mostly short, rarely thousands. */
export function times(dice: Dice, length: number): number {
  const count = dice.weighted([1, 1 + dice.below(50), 20_000], (n) => (n === 20_000 ? 0.1 : 0.45));
  return Math.max(1, Math.min(count, Math.floor(MOST_REPEATED_BYTES / (length + 1))));
}

/** Values of the wrong type for JSON. */
const ODD_VALUES: readonly unknown[] = [
  ...ODD_TEXTS,
  null,
  true,
  false,
  0,
  -1,
  0.5,
  1e12,
  2 ** 31,
  2 ** 53,
  1e308,
  "<f8",
  "|O",
  "|V1000000000",
  "<U9",
  "float16",
  [],
  {},
  [null],
  [-1, 3],
  [0, 0, 0, 0, 0],
  [1e6, 1e6, 1e6],
  [[[[]]]],
  { id: "blosc" },
  { id: "blosc", cname: "lz4", clevel: 5, shuffle: 1, blocksize: 0 },
  { id: "zlib", level: 9 },
  { id: "zstd" },
  { id: "delta", dtype: "<i4" },
  { name: "gzip", configuration: {} },
  { name: "transpose", configuration: { order: [0, 0] } },
  { name: "sharding_indexed", configuration: { chunk_shape: [1], codecs: [], index_codecs: [] } },
];

/** Changes one place of a JSON value: another value, none, its neighbour's, a duplicate, or a number nearby. */
export function mutateJson(value: unknown, dice: Dice, path = "$"): { value: unknown; what: string } {
  const isLeaf = typeof value !== "object" || value === null || Object.keys(value).length === 0;
  if (isLeaf || dice.chance(0.12)) {
    if (typeof value === "number" && dice.chance(0.5)) {
      const other = dice.pick([value + 1, value - 1, value * 2, value / 2, -value, value * 1e6, value + 0.5]);
      return { value: other, what: `${path} is ${other}` };
    }
    const other = dice.pick(ODD_VALUES);
    return { value: other, what: `${path} is ${JSON.stringify(other).slice(0, 60)}` };
  }
  const copy = (Array.isArray(value) ? [...value] : { ...value }) as Record<string, unknown>;
  const key = dice.pick(Object.keys(value));
  const place = `${path}.${key}`;
  switch (dice.below(10)) {
    case 0:
      if (Array.isArray(copy)) copy.splice(Number(key), 1);
      else delete copy[key];
      return { value: copy, what: `without ${place}` };
    case 1:
      if (Array.isArray(copy))
        copy.push(
          ...new Array<unknown>(times(dice, JSON.stringify(copy[Number(key)]).length)).fill(
            copy[Number(key)],
          ),
        );
      else copy[dice.pick(ODD_TEXTS)] = copy[key];
      return { value: copy, what: `${place} twice` };
    case 2: {
      const other = dice.pick(Object.keys(value));
      [copy[key], copy[other]] = [copy[other], copy[key]];
      return { value: copy, what: `${place} and ${other} swapped` };
    }
    default: {
      const inner = mutateJson(copy[key], dice, place);
      copy[key] = inner.value;
      return { value: copy, what: inner.what };
    }
  }
}

export function mutateJsonBytes(bytes: Uint8Array, dice: Dice, text: (dice: Dice) => boolean): Mutated {
  const source = new TextDecoder().decode(bytes);
  if (text(dice)) return mutateText(bytes, dice);
  let parsed: unknown;
  try {
    parsed = JSON.parse(source);
  } catch {
    return mutateText(bytes, dice);
  }
  const { value, what } = mutateJson(parsed, dice);
  return { bytes: new TextEncoder().encode(JSON.stringify(value)), what };
}

/** Changes attributes and elements of XML. */
export function mutateXml(source: string, dice: Dice): { text: string; what: string } {
  const attributes = [...source.matchAll(/([\w:]+)="([^"]*)"/g)];
  const elements = [...source.matchAll(/<(\w+)\b[^<>]*\/?>/g)];
  const place = <T extends RegExpMatchArray>(matches: T[]): T | undefined =>
    matches.length > 0 ? dice.pick(matches) : undefined;
  const attribute = place(attributes);
  const element = place(elements);
  const put = (at: RegExpMatchArray, text: string) =>
    source.slice(0, at.index) + text + source.slice(at.index! + at[0].length);
  switch (dice.below(8)) {
    case 0:
      if (attribute) return { text: put(attribute, ""), what: `without ${attribute[1]}` };
      break;
    case 1:
      if (element) return { text: put(element, ""), what: `without <${element[1]}>` };
      break;
    case 2:
      if (element)
        return {
          text: put(element, element[0].repeat(1 + times(dice, element[0].length))),
          what: `<${element[1]}> again`,
        };
      break;
    case 3:
      if (element) return { text: put(element, `<!-- ${element[0]}`), what: `comment at <${element[1]}>` };
      break;
    case 4:
      return {
        text: `<!DOCTYPE a [<!ENTITY b "${"c".repeat(50)}">]>${source.replace(/"[^"]*"/, '"&b;&b;&#x110000;"')}`,
        what: "entities",
      };
    default:
      if (attribute) {
        const number = Number(attribute[2]);
        const value =
          Number.isFinite(number) && dice.chance(0.5)
            ? String(dice.pick([number + 1, number - 1, number * 1000, -number, 0, 60_000, 1e9]))
            : dice.pick([...ODD_TEXTS, dice.pick(attributes)[2]!]);
        return {
          text: put(attribute, `${attribute[1]}="${value}"`),
          what: `${attribute[1]} is ${JSON.stringify(value.slice(0, 30))}`,
        };
      }
  }
  return { text: source.slice(0, dice.below(source.length)), what: "cut" };
}

const PIECES = [
  ",",
  ";",
  "\t",
  '"',
  '""',
  // Deeper than a call stack.
  "[".repeat(50_000),
  "\r\n",
  "\n",
  "\r",
  "{",
  "}",
  "[",
  "]",
  ":",
  "\ufeff",
  "\u0000",
  ...ODD_TEXTS,
];

/** Changes letters, signs and lines. */
export function mutateText(bytes: Uint8Array, dice: Dice): Mutated {
  const text = new TextDecoder("latin1").decode(bytes);
  const at = dice.below(text.length + 1);
  const end = Math.min(text.length, at + dice.below(20));
  const lines = text.split("\n");
  const encode = (changed: string) => new TextEncoder().encode(changed);
  switch (dice.below(6)) {
    case 0:
      return { bytes: encode(text.slice(0, at)), what: `cut at ${at}` };
    case 1:
      return { bytes: encode(text.slice(0, at) + text.slice(end)), what: `remove ${at} to ${end}` };
    case 2: {
      const line = dice.pick(lines);
      const count = times(dice, line.length);
      lines.splice(dice.below(lines.length), 0, ...new Array<string>(count).fill(line));
      return { bytes: encode(lines.join("\n")), what: `a line ${count} times more` };
    }
    case 3: {
      const out = bytes.slice();
      if (out.length > 0) out[dice.below(out.length)] = 128 + dice.below(128);
      return { bytes: out, what: "a byte above 127" };
    }
    default: {
      const piece = dice.pick(PIECES);
      return {
        bytes: encode(text.slice(0, at) + piece + text.slice(end)),
        what: `${JSON.stringify(piece.slice(0, 20))} at ${at}`,
      };
    }
  }
}

import type { Dice } from "./dice.ts";

export interface Mutated {
  bytes: Uint8Array;
  /** The mutation, for a person who reproduces it. */
  what: string;
}

/** A numeric field of a header. */
export interface Field {
  name: string;
  at: number;
  size: 1 | 2 | 4 | 8;
  little: boolean;
}

export function concat(...parts: readonly Uint8Array[]): Uint8Array {
  const out = new Uint8Array(parts.reduce((n, part) => n + part.length, 0));
  let at = 0;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return out;
}

export function readField(bytes: Uint8Array, { at, size, little }: Field): bigint {
  let value = 0n;
  for (let i = 0; i < size; i++)
    value = (value << 8n) | BigInt(bytes[little ? at + size - 1 - i : at + i] ?? 0);
  return value;
}

function writeField(bytes: Uint8Array, { at, size, little }: Field, value: bigint): void {
  for (let i = 0; i < size; i++) {
    const to = little ? at + i : at + size - 1 - i;
    if (to < bytes.length) bytes[to] = Number((value >> BigInt(8 * i)) & 255n);
  }
}

/** Changes the value of one header field. */
export function mutateField(bytes: Uint8Array, fields: readonly Field[], dice: Dice): Mutated {
  if (fields.length === 0) return mutateBytes(bytes, dice);
  const field = dice.pick(fields);
  const own = readField(bytes, field);
  const most = (1n << BigInt(8 * field.size)) - 1n;
  const like = fields.filter((f) => f.size === field.size);
  const value = dice.pick<() => bigint>([
    () => 0n,
    () => 1n,
    () => most,
    () => most >> 1n,
    () => (most >> 1n) + 1n,
    () => own + 1n,
    () => own - 1n,
    () => own * 2n,
    () => own * 1000n,
    () => own / 2n,
    () => BigInt(dice.below(256)),
    () => BigInt(dice.below(70_000)),
    () => BigInt(bytes.length),
    () => BigInt(dice.below(bytes.length)),
    () => BigInt(dice.below(2 ** 32)),
    () => readField(bytes, { ...field, little: !field.little }),
    () => readField(bytes, dice.pick(like)),
  ])();
  const out = bytes.slice();
  writeField(out, field, ((value % (most + 1n)) + most + 1n) % (most + 1n));
  return { bytes: out, what: `${field.name}@${field.at} ${own} to ${readField(out, field)}` };
}

const NUMBERS = [0n, 1n, 0x7fn, 0x80n, 0xffn, 0x7fffn, 0xffffn, 0x7fffffffn, 0x80000000n, 0xffffffffn];

/** Format-independent damage. Half of it hits the beginning, where headers are. */
export function mutateBytes(bytes: Uint8Array, dice: Dice): Mutated {
  const somewhere = () => dice.below(dice.chance(0.5) ? Math.min(bytes.length, 1024) : bytes.length);
  const block = () => {
    const from = somewhere();
    const most = dice.pick([4, 64, 1024, bytes.length]);
    return [from, Math.min(bytes.length, from + 1 + dice.below(most))] as const;
  };
  const out = bytes.slice();
  const at = somewhere();
  switch (dice.below(10)) {
    case 0: {
      const count = 1 + dice.below(16);
      for (let i = 0; i < count; i++) {
        const place = somewhere();
        out[place] = out[place]! ^ (1 << dice.below(8));
      }
      return { bytes: out, what: `flip ${count} bits` };
    }
    case 1: {
      const count = 1 + dice.below(16);
      for (let i = 0; i < count; i++) out[somewhere()] = dice.below(256);
      return { bytes: out, what: `replace ${count} bytes` };
    }
    case 2:
      return { bytes: bytes.slice(0, at), what: `cut at ${at}` };
    case 3: {
      const [from, to] = block();
      return {
        bytes: concat(bytes.subarray(0, from), bytes.subarray(to)),
        what: `remove ${from} to ${to}`,
      };
    }
    case 4: {
      const [from, to] = block();
      return {
        bytes: concat(bytes.subarray(0, to), bytes.subarray(from)),
        what: `repeat ${from} to ${to}`,
      };
    }
    case 5: {
      const [from, to] = block();
      const value = dice.pick([0, 255, dice.below(256)]);
      return { bytes: out.fill(value, from, to), what: `fill ${from} to ${to} with ${value}` };
    }
    case 6: {
      const [from, to] = block();
      out.set(bytes.subarray(from, Math.min(to, from + bytes.length - at)), at);
      return { bytes: out, what: `copy ${from} to ${to} over ${at}` };
    }
    case 7: {
      const more = Uint8Array.from({ length: 1 + dice.below(64) }, () => dice.below(256));
      return {
        bytes: concat(bytes.subarray(0, at), more, bytes.subarray(at)),
        what: `insert ${more.length} bytes at ${at}`,
      };
    }
    case 8: {
      const field: Field = { name: "", at, size: dice.pick([2, 4, 8]), little: dice.chance(0.5) };
      const value = dice.pick(NUMBERS);
      writeField(out, field, value);
      return { bytes: out, what: `${value} in ${field.size} bytes at ${at}` };
    }
    default: {
      const [from, to] = block();
      out.subarray(from, to).reverse();
      return { bytes: out, what: `turn round ${from} to ${to}` };
    }
  }
}

/** The beginning of one file and the end of another, or a piece of the other in the middle. */
export function splice(bytes: Uint8Array, other: Uint8Array, dice: Dice): Mutated {
  const at = dice.below(bytes.length);
  const from = dice.chance(0.5) ? Math.min(at, other.length) : dice.below(other.length);
  if (dice.chance(0.5)) {
    return {
      bytes: concat(bytes.subarray(0, at), other.subarray(from)),
      what: `to ${at}, then the other from ${from}`,
    };
  }
  const out = bytes.slice();
  const piece = other.subarray(from, from + Math.min(1 + dice.below(4096), bytes.length - at));
  out.set(piece, at);
  return { bytes: out, what: `${piece.length} bytes of the other from ${from} over ${at}` };
}

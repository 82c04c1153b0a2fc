/** Repeats `length` bytes that end `distance` before `to`, as Lempel-Ziv means it: a copy may run into what it writes. */
export function copyMatch(output: Uint8Array, to: number, distance: number, length: number): void {
  if (distance === 1) output.fill(output[to - 1]!, to, to + length);
  else if (distance >= length && length > 32) output.copyWithin(to, to - distance, to - distance + length);
  else for (let i = to, from = to - distance; i < to + length; i++, from++) output[i] = output[from]!;
}

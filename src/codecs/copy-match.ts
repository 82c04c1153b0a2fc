/** Copies a Lempel-Ziv match: `length` bytes from `distance` before `to`. Source and target may overlap. */
export function copyMatch(output: Uint8Array, to: number, distance: number, length: number): void {
  if (distance === 1) output.fill(output[to - 1]!, to, to + length);
  else if (distance >= length && length > 32) output.copyWithin(to, to - distance, to - distance + length);
  else for (let i = to, from = to - distance; i < to + length; i++, from++) output[i] = output[from]!;
}

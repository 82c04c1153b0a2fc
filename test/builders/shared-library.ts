import { writeFileSync } from "node:fs";

const SIZE = { header: 64, segment: 56, entry: 16, symbol: 24 };
/** ELF: PT_LOAD, PT_DYNAMIC; DT_NEEDED, DT_STRTAB, DT_SYMTAB, DT_STRSZ, DT_SYMENT. */
const [LOAD, DYNAMIC] = [1, 2];
const [NEEDED, STRTAB, SYMTAB, STRSZ, SYMENT] = [1, 5, 6, 10, 11];

/** An empty shared library for Linux on x64 that depends on another. */
export function writeSharedLibrary(path: string, needs: string): void {
  const names = Buffer.from(`\0${needs}\0`);
  const dynamicAt = SIZE.header + 2 * SIZE.segment;
  const symbolsAt = dynamicAt + 6 * SIZE.entry;
  const namesAt = symbolsAt + SIZE.symbol;
  const file = Buffer.alloc(namesAt + names.length);
  const words = (at: number, ...values: number[]) =>
    values.forEach((value, i) => {
      file.writeBigUInt64LE(BigInt(value), at + 8 * i);
    });
  // 64 bits, little endian; a shared object for x86-64.
  file.set([0x7f, 0x45, 0x4c, 0x46, 2, 1, 1]);
  file.writeUInt16LE(3, 16);
  file.writeUInt16LE(62, 18);
  file.writeUInt32LE(1, 20);
  words(32, SIZE.header);
  file.writeUInt16LE(SIZE.header, 52);
  file.writeUInt16LE(SIZE.segment, 54);
  file.writeUInt16LE(2, 56);
  const segment = (n: number, type: number, at: number, size: number, align: number) => {
    const from = SIZE.header + n * SIZE.segment;
    file.writeUInt32LE(type, from);
    file.writeUInt32LE(6, from + 4);
    words(from + 8, at, at, at, size, size, align);
  };
  segment(0, LOAD, 0, file.length, 0x1000);
  segment(1, DYNAMIC, dynamicAt, 6 * SIZE.entry, 8);
  words(
    dynamicAt,
    ...[NEEDED, 1, STRTAB, namesAt, SYMTAB, symbolsAt, STRSZ, names.length, SYMENT, SIZE.symbol, 0, 0],
  );
  file.set(names, namesAt);
  writeFileSync(path, file);
}

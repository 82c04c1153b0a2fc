import { type HuffmanTable, JpegBits, readHuffmanTables } from "./bits.ts";
import { type JpegHeader, mcuSize, SOS, segments } from "./stream.ts";

const DHT = 0xc4;

/**
 * Removes the bytes in front of restart markers and of the end that belong to no code: libjpeg warns of them and skips
 * them. The picture must be sequential with one scan; its codes are read, and no samples are made.
 *
 * Written by hand: no library edits a JPEG stream without decoding it.
 * @returns undefined when the scan holds fewer blocks than the header announces, or is not the only one
 */
export function cleanScan(stream: Uint8Array, header: JpegHeader): Uint8Array[] | undefined {
  const tables = new Map<number, HuffmanTable>();
  let scan: Uint8Array | undefined;
  for (const { marker, at, end } of segments(stream)) {
    if (marker === DHT) readHuffmanTables(stream.subarray(at + 4, end), tables);
    if (marker !== SOS) continue;
    scan = stream.subarray(at + 4, end);
    break;
  }
  if (scan === undefined || scan[0] !== header.components.length) return undefined;
  const single = header.components.length === 1;
  const blocks: { dc: HuffmanTable; ac: HuffmanTable }[] = [];
  for (const [i, component] of header.components.entries()) {
    const selectors = scan[2 + 2 * i] ?? 0;
    const dc = tables.get(selectors >> 4);
    const ac = tables.get(16 + (selectors & 15));
    if (dc === undefined || ac === undefined) return undefined;
    const count = single ? 1 : component.horizontal * component.vertical;
    for (let b = 0; b < count; b++) blocks.push({ dc, ac });
  }
  const [mcuHeight, mcuWidth] = mcuSize(header);
  const mcus = Math.ceil(header.width / mcuWidth) * Math.ceil(header.height / mcuHeight);
  const bits = new JpegBits(stream, header.scanDataOffset);
  const parts: Uint8Array[] = [];
  let from = header.scanDataOffset;
  let restarts = 0;
  // Each block takes two bits or more, so the data ends before a false count is reached.
  for (let mcu = 0; mcu < mcus; mcu++) {
    if (header.restartInterval > 0 && mcu > 0 && mcu % header.restartInterval === 0) {
      parts.push(stream.subarray(from, bits.offset), Uint8Array.of(0xff, 0xd0 + (restarts % 8)));
      if (!bits.restart(restarts++ % 8)) return undefined;
      from = bits.offset;
    }
    for (const { dc, ac } of blocks) if (!passBlock(bits, dc, ac)) return undefined;
  }
  parts.push(stream.subarray(from, bits.offset));
  return parts;
}

function passBlock(bits: JpegBits, dc: HuffmanTable, ac: HuffmanTable): boolean {
  const size = dc.decode(bits);
  if (size < 0 || size > 16 || bits.bits(size) < 0) return false;
  for (let k = 1; k < 64; k++) {
    const code = ac.decode(bits);
    if (code < 0) return false;
    if ((code & 15) > 0) {
      k += code >> 4;
      if (k > 63 || bits.bits(code & 15) < 0) return false;
    } else if (code === 0xf0) k += 15;
    else break;
  }
  return true;
}

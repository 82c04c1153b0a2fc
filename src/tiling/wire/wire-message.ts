/**
 * Frame of messages between a client and a segmentation service: a fixed part, a JSON header, a payload of samples.
 * docs/format.md describes the layout. Numbers and samples are little-endian, as on every supported platform.
 */

/** The bytes are not a message of the expected kind, or the message is too large. */
export class WireFormatError extends Error {
  override readonly name = "WireFormatError";
}

export const WIRE_VERSION = 1;
/** Fixed part: magic, version, length of the header, length of the payload; four bytes each. */
export const FIXED_BYTES = 16;
/** The header ends at a multiple of this, so that samples of any type are aligned. */
const ALIGNMENT = 8;
export const MAX_HEADER_BYTES = 1 << 16;

/** `header` must be JSON of at most 64 KiB; `payload` is copied. */
export function encodeMessage(
  magic: string,
  header: unknown,
  payload: readonly ArrayBufferView[],
): Uint8Array<ArrayBuffer> {
  // Escaped to ASCII: one byte for each character, without a text encoder.
  const json = JSON.stringify(header).replace(
    /[\u0080-\uffff]/g,
    (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
  const headerBytes = Math.ceil((FIXED_BYTES + json.length) / ALIGNMENT) * ALIGNMENT - FIXED_BYTES;
  if (headerBytes > MAX_HEADER_BYTES) {
    throw new WireFormatError(`the header has ${headerBytes} bytes, at most ${MAX_HEADER_BYTES} are allowed`);
  }
  const payloadBytes = payload.reduce((sum, part) => sum + part.byteLength, 0);
  const message = new Uint8Array(FIXED_BYTES + headerBytes + payloadBytes);
  const fixed = new DataView(message.buffer);
  for (let i = 0; i < 4; i++) message[i] = magic.charCodeAt(i);
  fixed.setUint32(4, WIRE_VERSION, true);
  fixed.setUint32(8, headerBytes, true);
  fixed.setUint32(12, payloadBytes, true);
  for (let i = 0; i < headerBytes; i++) message[FIXED_BYTES + i] = json.charCodeAt(i) || 0x20;
  let at = FIXED_BYTES + headerBytes;
  for (const part of payload) {
    message.set(new Uint8Array(part.buffer, part.byteOffset, part.byteLength), at);
    at += part.byteLength;
  }
  return message;
}

/**
 * Decodes a message into its unvalidated header and a view of its payload.
 * @param bytes start at a multiple of 8 in their buffer; otherwise the payload is copied
 * @throws {WireFormatError} unless the bytes are a complete message with this magic and version
 */
export function decodeMessage(magic: string, bytes: Uint8Array): { header: unknown; payload: Uint8Array } {
  if (bytes.length < FIXED_BYTES) {
    throw new WireFormatError(`the message is cut off: ${bytes.length} bytes, its fixed part has 16`);
  }
  const fixed = new DataView(bytes.buffer, bytes.byteOffset, FIXED_BYTES);
  for (let i = 0; i < 4; i++) {
    if (bytes[i] !== magic.charCodeAt(i)) {
      throw new WireFormatError(`the message does not begin with "${magic}"`);
    }
  }
  const version = fixed.getUint32(4, true);
  if (version !== WIRE_VERSION) {
    throw new WireFormatError(`the message has version ${version}, supported is ${WIRE_VERSION}`);
  }
  const headerBytes = fixed.getUint32(8, true);
  if (headerBytes > MAX_HEADER_BYTES || headerBytes % ALIGNMENT !== 0) {
    throw new WireFormatError(
      `the header has ${headerBytes} bytes; a multiple of ${ALIGNMENT} up to ${MAX_HEADER_BYTES} is allowed`,
    );
  }
  const start = FIXED_BYTES + headerBytes;
  const stated = start + fixed.getUint32(12, true);
  if (bytes.length !== stated) {
    throw new WireFormatError(`the message has ${bytes.length} bytes, it says ${stated}`);
  }
  let json = "";
  for (let i = FIXED_BYTES; i < start; i++) {
    if (bytes[i]! > 0x7e) throw new WireFormatError("the header is not ASCII");
    json += String.fromCharCode(bytes[i]!);
  }
  let header: unknown;
  try {
    header = JSON.parse(json);
  } catch (cause) {
    throw new WireFormatError("the header is not JSON", { cause });
  }
  const aligned = (bytes.byteOffset + start) % ALIGNMENT === 0;
  return { header, payload: aligned ? bytes.subarray(start) : new Uint8Array(bytes.subarray(start)) };
}

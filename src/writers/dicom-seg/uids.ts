/**
 * Derives UIDs from a UUID (PS3.5 annex B.2) made from `seed`: the same labels of the same source get the same UIDs.
 */
export async function createUidFactory(seed: unknown): Promise<(role: string) => Promise<string>> {
  const text = JSON.stringify(seed);
  return async (role) => {
    const bytes = new TextEncoder().encode(`${role}\0${text}`);
    const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes)).subarray(0, 16);
    // RFC 9562: version 8 (own layout), variant 10.
    digest[6] = (digest[6]! & 0x0f) | 0x80;
    digest[8] = (digest[8]! & 0x3f) | 0x80;
    return `2.25.${digest.reduce((number, byte) => (number << 8n) | BigInt(byte), 0n)}`;
  };
}

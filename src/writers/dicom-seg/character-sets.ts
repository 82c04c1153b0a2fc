/** TextDecoder labels of the defined terms of Specific Character Set (PS3.3 section C.12.1.1.2). */
const DECODERS: ReadonlyMap<string, string> = new Map(
  Object.entries({
    "ISO_IR 6": "latin1",
    "ISO_IR 100": "latin1",
    "ISO_IR 101": "iso-8859-2",
    "ISO_IR 109": "iso-8859-3",
    "ISO_IR 110": "iso-8859-4",
    "ISO_IR 144": "iso-8859-5",
    "ISO_IR 127": "iso-8859-6",
    "ISO_IR 126": "iso-8859-7",
    "ISO_IR 138": "iso-8859-8",
    "ISO_IR 148": "iso-8859-9",
    "ISO_IR 203": "iso-8859-15",
    "ISO_IR 13": "shift-jis",
    "ISO_IR 166": "windows-874",
    "ISO_IR 192": "utf-8",
    GB18030: "gb18030",
    GBK: "gbk",
  }),
);
/**
 * Character sets that a text can switch to. The escape sequences of EUC sets are removed: their bytes identify them.
 */
const SWITCHED: readonly [RegExp, string][] = [
  [/ISO 2022 IR (87|159)/, "iso-2022-jp"],
  [/ISO 2022 IR 149/, "euc-kr"],
  [/ISO 2022 IR 58/, "gb18030"],
];
// biome-ignore lint/suspicious/noControlCharactersInRegex: ESC is what they begin with
const EUC_ESCAPE = /\u001b\$\)[AC]/g;

/**
 * Maps the 256 characters that "latin1" decodes bytes to (in fact windows-1252, see the Encoding Standard) back to
 * bytes.
 */
const BYTE_OF = new Map(
  [...new TextDecoder("latin1").decode(Uint8Array.from({ length: 256 }, (_, byte) => byte))].map(
    (character, byte) => [character, byte] as const,
  ),
);

/**
 * Decodes texts that were read as "latin1", whatever their character set.
 * @param terms of Specific Character Set; several if texts switch between sets
 */
export function textDecoder(terms: readonly string[]): (latin1: string) => string {
  const all = terms.join("\\");
  const switched = SWITCHED.find(([term]) => term.test(all))?.[1];
  const first = (terms[0] ?? "").trim().replace(/^ISO 2022 IR /, "ISO_IR ");
  const decoder = new TextDecoder(switched ?? DECODERS.get(first) ?? "latin1");
  return (latin1) => {
    // biome-ignore lint/suspicious/noControlCharactersInRegex: all of ASCII but ESC
    if (/^[\x00-\x1a\x1c-\x7f]*$/.test(latin1)) return latin1;
    const plain = decoder.encoding === "iso-2022-jp" ? latin1 : latin1.replace(EUC_ESCAPE, "");
    return decoder.decode(Uint8Array.from(plain, (character) => BYTE_OF.get(character) ?? 0x3f));
  };
}

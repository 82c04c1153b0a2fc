import { SaxesParser } from "saxes";

/** An element of a parsed XML document. Names have no namespace prefix. */
export interface XmlElement {
  name: string;
  attributes: Record<string, string>;
  children: XmlElement[];
  /** Its own text; only with the option `text`. */
  text?: string;
}

/**
 * Far more than the metadata of an image or a page of a listing has. An element of four characters takes some 200
 * bytes.
 */
const MAX_ELEMENTS = 2 ** 19;
/**
 * Faults that real writers make and that do not change the tree. Each one costs saxes an `Error`, so they are
 * counted.
 */
const MAX_FAULTS = 1000;
const TOLERATED = new Set([
  "disallowed character.",
  "malformed character entity.",
  "text data outside of root node.",
  "an XML declaration must be at the start of the document.",
  "the XML declaration must appear at the start of the document.",
  "no whitespace between attributes.",
  'the string "]]>" is disallowed in char data.',
]);

/** An ampersand that begins neither a character reference nor one of the five entities of XML. */
const OTHER_AMPERSAND = /&(?!(?:lt|gt|amp|quot|apos|#[0-9]{1,7}|#x[0-9a-fA-F]{1,6});)/g;

class MalformedXml extends Error {}

/**
 * Parses an XML document into elements, with the parser saxes. Other entities than the five of XML stay as they are:
 * entities of a DTD are never expanded. Comments, CDATA and processing instructions are left out.
 * @param options.text keep the text of elements
 * @returns the root element; undefined when the document is not well-formed or has more than 524288 elements
 */
export function parseXml(document: string, options: { text?: boolean } = {}): XmlElement | undefined {
  const parser = new SaxesParser({ position: false });
  const open: XmlElement[] = [];
  let root: XmlElement | undefined;
  let elements = 0;
  let faults = 0;
  parser.on("error", (error) => {
    if (!TOLERATED.has(error.message) || ++faults > MAX_FAULTS) throw new MalformedXml(error.message);
  });
  parser.on("opentag", ({ name, attributes }) => {
    if (++elements > MAX_ELEMENTS) throw new MalformedXml(`more than ${MAX_ELEMENTS} elements`);
    const element: XmlElement = {
      name: localName(name),
      attributes: Object.fromEntries(
        Object.entries(attributes).map(([key, value]) => [localName(key), value]),
      ),
      children: [],
    };
    if (options.text) element.text = "";
    root ??= element;
    open.at(-1)?.children.push(element);
    open.push(element);
  });
  parser.on("closetag", () => void open.pop());
  if (options.text) {
    parser.on("text", (text) => {
      const element = open.at(-1);
      if (element) element.text += text;
    });
  }
  try {
    parser.write(document.replace(OTHER_AMPERSAND, "&amp;")).close();
  } catch (error) {
    if (error instanceof MalformedXml) return undefined;
    throw error;
  }
  return root;
}

function localName(name: string): string {
  return name.slice(name.indexOf(":") + 1);
}

export function childrenNamed(element: XmlElement | undefined, name: string): XmlElement[] {
  return element?.children.filter((child) => child.name === name) ?? [];
}

/** The text of the first child of that name, in a document parsed with `text`. */
export function childText(element: XmlElement | undefined, name: string): string | undefined {
  return element?.children.find((child) => child.name === name)?.text;
}

/**
 * Text for an element or a quoted attribute, in plain ASCII: TIFF's ImageDescription is ASCII. Other characters
 * become references.
 */
export function escapeXml(text: string): string {
  let out = "";
  for (const char of text) {
    const code = char.codePointAt(0)!;
    const legal = code >= 0x20 || code === 9 || code === 10 || code === 13;
    if (!legal) continue;
    out += code < 0x20 || code > 0x7e || `&<>"'`.includes(char) ? `&#${code};` : char;
  }
  return out;
}

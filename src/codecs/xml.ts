/** An element of a parsed XML document. Names without their namespace prefix; text content is not kept. */
export interface XmlElement {
  name: string;
  attributes: Record<string, string>;
  children: XmlElement[];
}

/** What begins with the first and is skipped up to the second. */
const SKIPPED: readonly [string, string][] = [
  ["<!--", "-->"],
  ["<![CDATA[", "]]>"],
  ["<?", "?>"],
  ["<!", ">"],
];

const ENTITIES = new Map(Object.entries({ lt: "<", gt: ">", amp: "&", quot: '"', apos: "'" }));

/**
 * Elements and attributes of an XML document: all that OME-XML's pixel description needs. Entities beyond the
 * five of XML and character numbers stay as they are: nothing is ever expanded.
 * @returns the root element, or undefined when tags do not match
 */
export function parseXml(text: string): XmlElement | undefined {
  const root: XmlElement = { name: "", attributes: {}, children: [] };
  const open: XmlElement[] = [root];
  // A scan by hand and not by regular expression: it takes linear time on damaged input too.
  for (let at = text.indexOf("<"); at >= 0; at = text.indexOf("<", at)) {
    const skipped = SKIPPED.find(([begin]) => text.startsWith(begin, at));
    if (skipped) {
      const end = text.indexOf(skipped[1], at + skipped[0].length);
      if (end < 0) return undefined;
      at = end + skipped[1].length;
      continue;
    }
    const end = tagEnd(text, at + 1);
    if (end < 0) return undefined;
    const closing = text[at + 1] === "/";
    const empty = text[end - 1] === "/";
    const body = text.slice(at + (closing ? 2 : 1), empty ? end - 1 : end);
    at = end + 1;
    const name = localName(/^[^\s]*/.exec(body)![0]);
    if (closing) {
      if (open.length < 2 || open.pop()!.name !== name) return undefined;
      continue;
    }
    const attributes = parseAttributes(body);
    if (name === "" || attributes === undefined) return undefined;
    const element: XmlElement = { name, attributes, children: [] };
    open.at(-1)!.children.push(element);
    if (!empty) open.push(element);
  }
  return open.length === 1 ? root.children[0] : undefined;
}

/** Where the tag's ">" is, quoted ones passed over; -1 when it never ends. */
function tagEnd(text: string, from: number): number {
  let quote = "";
  for (let i = from; i < text.length; i++) {
    const c = text[i]!;
    if (quote !== "") {
      if (c === quote) quote = "";
    } else if (c === '"' || c === "'") {
      quote = c;
    } else if (c === ">") {
      return i;
    }
  }
  return -1;
}

function localName(name: string): string {
  return name.slice(name.indexOf(":") + 1);
}

export function childrenNamed(element: XmlElement | undefined, name: string): XmlElement[] {
  return element?.children.filter((child) => child.name === name) ?? [];
}

/** The attributes behind a tag's name; undefined when one has no quoted value. */
function parseAttributes(body: string): Record<string, string> | undefined {
  const attributes: Record<string, string> = {};
  let at = body.search(/\s|$/);
  for (;;) {
    while (isSpace(body[at])) at++;
    if (at >= body.length) return attributes;
    const equals = body.indexOf("=", at);
    if (equals < 0) return undefined;
    const name = body.slice(at, equals).trimEnd();
    at = equals + 1;
    while (isSpace(body[at])) at++;
    const quote = body[at];
    const end = quote === '"' || quote === "'" ? body.indexOf(quote, at + 1) : -1;
    if (end < 0) return undefined;
    attributes[localName(name)] = decodeEntities(body.slice(at + 1, end));
    at = end + 1;
  }
}

function isSpace(c: string | undefined): boolean {
  return c === " " || c === "\n" || c === "\t" || c === "\r";
}

function decodeEntities(text: string): string {
  return text.replace(/&(?:#x([0-9a-fA-F]{1,6})|#([0-9]{1,7})|([a-z]+));/g, (whole, hex, decimal, name) => {
    const code = hex ? Number.parseInt(hex, 16) : decimal ? Number(decimal) : undefined;
    if (code !== undefined) return code <= 0x10ffff ? String.fromCodePoint(code) : whole;
    return ENTITIES.get(name) ?? whole;
  });
}

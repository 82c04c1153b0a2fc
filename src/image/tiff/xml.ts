/** An element of a parsed XML document. Names without their namespace prefix; text content is not kept. */
export interface XmlElement {
  name: string;
  attributes: Record<string, string>;
  children: XmlElement[];
}

/** Comments, processing instructions, CDATA and doctype; then tags with their attributes. */
const TOKEN =
  /<!--[\s\S]*?-->|<\?[\s\S]*?\?>|<!\[CDATA\[[\s\S]*?\]\]>|<![^>]*>|<(\/?)([^\s/>]+)((?:\s+[^\s=/>]+\s*=\s*(?:"[^"]*"|'[^']*'))*)\s*(\/?)>/g;
const ATTRIBUTE = /([^\s=/>]+)\s*=\s*(?:"([^"]*)"|'([^']*)')/g;

const ENTITIES: Record<string, string> = { lt: "<", gt: ">", amp: "&", quot: '"', apos: "'" };

/**
 * Elements and attributes of an XML document: all that OME-XML's pixel description needs. Entities beyond the
 * five of XML and character numbers stay as they are: nothing is ever expanded.
 * @returns the root element, or undefined when tags do not match
 */
export function parseXml(text: string): XmlElement | undefined {
  const root: XmlElement = { name: "", attributes: {}, children: [] };
  const open: XmlElement[] = [root];
  for (const match of text.matchAll(TOKEN)) {
    const [, closing, name, attributes, empty] = match;
    if (name === undefined) continue;
    const local = name.slice(name.indexOf(":") + 1);
    if (closing) {
      if (open.length < 2 || open.pop()!.name !== local) return undefined;
      continue;
    }
    const element: XmlElement = { name: local, attributes: parseAttributes(attributes ?? ""), children: [] };
    open.at(-1)!.children.push(element);
    if (!empty) open.push(element);
  }
  return open.length === 1 ? root.children[0] : undefined;
}

export function childrenNamed(element: XmlElement | undefined, name: string): XmlElement[] {
  return element?.children.filter((child) => child.name === name) ?? [];
}

function parseAttributes(text: string): Record<string, string> {
  const attributes: Record<string, string> = {};
  for (const [, name, double, single] of text.matchAll(ATTRIBUTE)) {
    attributes[name!.slice(name!.indexOf(":") + 1)] = decodeEntities(double ?? single ?? "");
  }
  return attributes;
}

function decodeEntities(text: string): string {
  return text.replace(/&(?:#x([0-9a-fA-F]{1,6})|#([0-9]{1,7})|([a-z]+));/g, (whole, hex, decimal, name) => {
    const code = hex ? Number.parseInt(hex, 16) : decimal ? Number(decimal) : undefined;
    if (code !== undefined) return code <= 0x10ffff ? String.fromCodePoint(code) : whole;
    return ENTITIES[name] ?? whole;
  });
}

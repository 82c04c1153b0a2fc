import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { childText, escapeXml, parseXml } from "../../src/codecs/xml.ts";
import { parseOmeXml } from "../../src/readers/tiff/ome-xml.ts";

describe("parseXml", () => {
  test("elements, attributes, entities; prefixes and everything else left off", () => {
    const root = parseXml(
      `<?xml version="1.0"?><!-- a <b> --><ome:OME xmlns:ome="x" a='1 "2"'>text &amp; <B n="&#181;m &lt;&#x3b1;&unknown;&constructor;"/><![CDATA[<C>]]></ome:OME>`,
    );
    expect(root).toEqual({
      name: "OME",
      attributes: { ome: "x", a: '1 "2"' },
      children: [{ name: "B", attributes: { n: "µm <α&unknown;&constructor;" }, children: [] }],
    });
  });

  test.each(["", "text", "<a><b></a>", "<a>", "</a>"])("%s is not well-formed", (text) => {
    expect(parseXml(text)).toBeUndefined();
  });

  test("keeps the text of elements when asked to", () => {
    const root = parseXml("<A>1 &lt; 2<B>&#34;x&#34;</B> &amp; 3<!-- 4 --></A>", { text: true });
    expect([root!.text, childText(root, "B"), childText(root, "C")]).toEqual(["1 < 2 & 3", '"x"', undefined]);
    expect(parseXml("<A>text</A>")!.text).toBeUndefined();
  });

  test("never expands entities of a DTD", () => {
    const lol = Array.from({ length: 9 }, (_, i) => `<!ENTITY l${i + 1} "${`&l${i};`.repeat(10)}">`).join("");
    const dtd = `<!DOCTYPE a [<!ENTITY l0 "lol"><!ENTITY file SYSTEM "file:///etc/passwd">${lol}]>`;
    const root = parseXml(`<?xml version="1.0"?>${dtd}<a b="&l9;&file;">&l9;&file;</a>`, { text: true });
    expect([root!.attributes.b, root!.text]).toEqual(["&l9;&file;", "&l9;&file;"]);
  });

  test("accepts what real writers get wrong in text and attributes", () => {
    const text = '\n<?xml version="1.0"?><OME Name="A & B"a="\u0001" b="&#x110000;&#0;"/>\0\0';
    expect(parseXml(text)!.attributes).toEqual({ Name: "A & B", a: "\u0001", b: "&#x110000;&#0;" });
  });

  test.each(["<a b=c/>", "<a b/>", "<a/><b/>", "<a><b></a></b>", "< a/>", "<a><!-- </a>", '<a b="c></a>'])(
    "%s is not well-formed",
    (text) => {
      expect(parseXml(text)).toBeUndefined();
    },
  );

  test("gives up a document of too many elements or faults", () => {
    expect(parseXml(`<a>${"<b/>".repeat(1000)}</a>`)!.children).toHaveLength(1000);
    expect(parseXml(`<a>${"<b/>".repeat(2 ** 19)}</a>`)).toBeUndefined();
    expect(parseXml("<a>".repeat(2 ** 19 + 1))).toBeUndefined();
    expect(parseXml(`<a>${"\u0001".repeat(100_000)}</a>`)).toBeUndefined();
  });

  test("what escapeXml writes is read back, but for characters that XML forbids", () => {
    fc.assert(
      fc.property(fc.string({ unit: "binary" }), (value) => {
        const kept = [...value].filter((c) => c >= " " || "\t\n\r".includes(c)).join("");
        fc.pre(!/[\ud800-\udfff\ufffe\uffff]/.test(kept.replace(/[\u{10000}-\u{10ffff}]/gu, "")));
        const root = parseXml(`<a b="${escapeXml(value)}">${escapeXml(value)}</a>`, { text: true })!;
        expect([root.attributes.b, root.text]).toEqual([kept, kept]);
      }),
    );
  });

  test("a long damaged document does not take long", () => {
    const start = performance.now();
    parseXml(`<a ${'b="c" '.repeat(20_000)}`);
    parseXml("<".repeat(50_000));
    parseXml(`<a b=${" ".repeat(50_000)}`);
    expect(performance.now() - start).toBeLessThan(10_000);
  });
});

const image = (pixels: string, inside = "", around = "") =>
  parseOmeXml(
    `<OME>${around}<Image Name="scan">${inside}<Pixels SizeX="4" SizeY="3" ${pixels}</Pixels></Image></OME>`,
  )!.images[0]!.read();

describe("parseOmeXml", () => {
  test("planes without TiffData lie in the order of the dimensions", () => {
    const xyczt = image('SizeC="2" SizeZ="3" SizeT="1" DimensionOrder="XYCZT">');
    expect(xyczt.resolvePages(2)).toEqual([
      [0, 1],
      [2, 3],
      [4, 5],
    ]);
    const xyzct = image('SizeC="2" SizeZ="3" SizeT="1" DimensionOrder="XYZCT">');
    expect(xyzct.resolvePages(2)).toEqual([
      [0, 3],
      [1, 4],
      [2, 5],
    ]);
  });

  test("TiffData says where planes lie; an element with an IFD and no count is one plane", () => {
    const found = image(
      'SizeC="2" SizeZ="1" SizeT="1" DimensionOrder="XYCZT"><TiffData FirstC="0" IFD="7"/><TiffData FirstC="1" IFD="5"/>',
    );
    expect(found.resolvePages(2)).toEqual([[7, 5]]);
    expect(found.firstPage).toBe(7);
  });

  test("planes in other files are reported", () => {
    const found = image(
      'SizeC="2" SizeZ="1" SizeT="1"><TiffData FirstC="0" IFD="0"><UUID FileName="a.tif">u</UUID></TiffData><TiffData FirstC="1" IFD="0"><UUID FileName="b.tif">v</UUID></TiffData>',
    );
    expect(found.otherFile).toBe("b.tif");
  });

  test("a document that names planes repeatedly is rejected, whatever its counts", () => {
    const data = '<TiffData PlaneCount="999999999"/>';
    expect(image(`SizeC="4" SizeZ="50">${data}`).resolvePages(4)).toHaveLength(50);
    expect(image(`SizeC="4" SizeZ="50">${data.repeat(1000)}`).resolvePages(4)).toBeUndefined();
    const each = Array.from(
      { length: 200 },
      (_, i) => `<TiffData FirstC="${i % 4}" FirstZ="${i >> 2}" IFD="${i}"/>`,
    );
    expect(image(`SizeC="4" SizeZ="50">${each.join("")}`).resolvePages(4)![49]).toEqual([196, 197, 198, 199]);
  });

  test("metadata in a companion file is named", () => {
    const document = parseOmeXml('<OME><BinaryOnly MetadataFile="a.companion.ome" UUID="u"/></OME>')!;
    expect([document.companion, document.images]).toEqual(["a.companion.ome", []]);
  });

  test.each([
    ['PhysicalSizeX="0.5" PhysicalSizeY="0.25"', [0.25, 0.5]],
    ['PhysicalSizeX="500" PhysicalSizeXUnit="nm" PhysicalSizeY="0.001" PhysicalSizeYUnit="mm"', [1, 0.5]],
    ['PhysicalSizeX="1" PhysicalSizeY="1" PhysicalSizeXUnit="pixel" PhysicalSizeYUnit="pixel"', undefined],
    ['PhysicalSizeX="0" PhysicalSizeY="1"', undefined],
    ['PhysicalSizeX="1" PhysicalSizeXUnit="um" PhysicalSizeY="1" PhysicalSizeYUnit="\u03bcm"', [1, 1]],
    [
      'PhysicalSizeX="1" PhysicalSizeXUnit="micron" PhysicalSizeY="1" PhysicalSizeYUnit="Micrometres"',
      [1, 1],
    ],
    ['PhysicalSizeX="1" PhysicalSizeXUnit="constructor" PhysicalSizeY="1"', undefined],
    ['PhysicalSizeX="0.5"', undefined],
  ])("spacing of %s", (attributes, values) => {
    expect(image(`${attributes}>`).spacing?.values).toEqual(values);
  });

  test("an RGB channel counts as its samples, and colours are signed RGBA", () => {
    const rgb = image('SizeC="3"><Channel SamplesPerPixel="3"/>');
    expect(rgb.channelSamples).toEqual([3]);
    const coloured = image(
      'SizeC="2"><Channel Name="A" Color="-16776961"/><Channel Fluor="Cy3" Color="65535"/>',
    );
    expect(coloured.channels).toEqual([
      { name: "A", color: "#ff0000" },
      { name: "Cy3", color: "#0000ff" },
    ]);
  });

  test("the objective is the one that the image names", () => {
    const instrument =
      '<Instrument><Objective ID="O:1" NominalMagnification="20"/><Objective ID="O:2" NominalMagnification="40"/></Instrument>';
    expect(image(">", '<ObjectiveSettings ID="O:2"/>', instrument).objectivePower).toBe(40);
    expect(image(">", "", instrument).objectivePower).toBeUndefined();
  });
});

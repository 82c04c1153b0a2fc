import { describe, expect, test } from "vitest";
import { type OpenOptions, openImage } from "../../src/readers/open-image.ts";
import { MemoryStore } from "../../src/storage/memory-store.ts";
import type { Raster } from "../../src/tiling/grid/raster.ts";
import { type MadePage, makeTiff } from "../builders/make-tiff.ts";
import { pattern } from "../builders/pattern.ts";

async function open(pages: readonly MadePage[], options?: OpenOptions, bytes = makeTiff(pages)) {
  return openImage(new MemoryStore({ "made.tif": bytes }), "made.tif", options);
}
async function read(pages: readonly MadePage[], options?: OpenOptions, bytes?: Uint8Array) {
  const image = await open(pages, options, bytes);
  const size = image.levels[0]!.shape;
  return { image, ...(await image.readRegion(0, { origin: size.map(() => 0), size })) };
}

const picture = pattern("uint8", [40, 60, 3]);
const filled = (shape: number[], value: number): Raster => {
  const made = pattern("uint8", shape);
  made.data.fill(value);
  return made;
};
const short = (...values: number[]) => ({ type: 3, values });

describe("the image is chosen by what pages state, in any order", () => {
  const image: MadePage = { image: picture };
  const small = filled([10, 15, 3], 9);
  const same = filled([40, 60, 3], 9);
  const others: [string, MadePage][] = [
    ["a reduced copy", { image: small, subfileType: 1 }],
    ["a reduced copy by the old tag", { image: small, override: { 255: short(2) } }],
    ["a transparency mask of the same size", { image: filled([40, 60, 1], 1), subfileType: 4 }],
    ["a mask by its colours", { image: filled([40, 60, 1], 1), photometric: 4 }],
    ["a label of the same size by its description", { image: same, description: "label 60x40" }],
    ["a macro by its description", { image: filled([90, 90, 3], 1), description: "Scanner\nmacro 90x90" }],
    [
      "a label by its type, as QPTIFF has it",
      {
        image: filled([90, 90, 3], 1),
        description: "<?xml?><PerkinElmer-QPI-ImageDescription><ImageType>Label<",
      },
    ],
    ["a macro by its name", { image: filled([90, 90, 3], 1), override: { 285: "Macro" } }],
    ["a smaller page of which nothing is said", { image: small }],
  ];
  test.each(others)("%s, before and behind it", async (_, other) => {
    for (const pages of [
      [other, image],
      [image, other],
    ]) {
      const { data } = await read(pages);
      expect(data).toEqual(picture.data);
    }
  });

  test("tiled pages come before stripped ones", async () => {
    const macro: MadePage = { image: filled([90, 90, 3], 1) };
    const { data, image: opened } = await read([macro, { ...image, tile: [16, 16] }]);
    expect(data).toEqual(picture.data);
    expect(opened.details?.page).toMatch(/^2 of 2; labels, macros/);
  });

  test.each<[string, MadePage[]]>([
    ["a reduced copy alone", [{ image: small, subfileType: 1 }]],
    ["a mask alone", [{ image: filled([9, 9, 1], 1), subfileType: 4 }]],
    [
      "label and macro",
      [
        { image: same, description: "label" },
        { image: small, description: "macro" },
      ],
    ],
  ])("%s: rejected", async (_, pages) => {
    await expect(open(pages)).rejects.toThrow(/so it holds no image itself; export the image/);
  });

  test("an image below a reduced copy, as in files of cameras", async () => {
    const { data } = await read([{ image: small, subfileType: 1, subPages: [image] }]);
    expect(data).toEqual(picture.data);
  });

  test("a file whose only page is called a label is an image", async () => {
    expect((await read([{ ...image, description: "label image of nuclei" }])).data).toEqual(picture.data);
  });

  test("Aperio: a thumbnail may come first", async () => {
    const thumbnail = { image: small, description: "Aperio Image Library v11\r\n60x40 -> 15x10|AppMag = 5" };
    const slide = { ...image, tile: [16, 16] as [number, number] };
    const text = "Aperio Image Library v11\r\n60x40 (16x16)|AppMag = 20|MPP = 0,4990";
    const { data, image: opened } = await read([thumbnail, { ...slide, description: text }]);
    expect(data).toEqual(picture.data);
    expect([opened.objectivePower, opened.spacing?.values]).toEqual([20, [0.499, 0.499]]);
  });
});

/** `[z][c]` planes that differ, and all of them as one image `[z, y, x, c]`. */
function planes(depths: number, channels: number) {
  const [height, width] = [6, 8];
  const at = (z: number, c: number, p: number) => 1000 * z + 100 * c + p;
  const plane = (z: number, c: number): Raster => ({
    data: Uint16Array.from({ length: height * width }, (_, p) => at(z, c, p)),
    shape: [height, width, 1],
  });
  const whole = Array.from({ length: depths * height * width * channels }, (_, i) => {
    const c = i % channels;
    const p = ((i - c) / channels) % (height * width);
    return at(Math.floor(i / (channels * height * width)), c, p);
  });
  return { plane, whole };
}

describe("stacks as ImageJ and tifffile state them", () => {
  const { plane, whole } = planes(3, 2);
  // Channels lie next to each other for ImageJ.
  const imageJ = [0, 1, 2].flatMap((z) => [0, 1].map((c) => plane(z, c)));
  const text = "ImageJ=1.54f\nimages=6\nchannels=2\nslices=3\nhyperstack=true\nunit=\\u00B5m\nspacing=-1.5\n";
  const pages = (list: Raster[], description?: string): MadePage[] =>
    list.map((image, i) => ({ image, ...(i === 0 && { description }), resolution: 4 }));

  test("ImageJ: channels, depths and spacing", async () => {
    const { image, data, shape } = await read(pages(imageJ, text));
    expect([image.format, image.axes, shape]).toEqual(["ImageJ TIFF (stripped)", "zyx", [3, 6, 8, 2]]);
    expect(Array.from(data)).toEqual(whole);
    expect(image.spacing).toEqual({ values: [1.5, 0.25, 0.25], unit: "micrometer" });
  });

  test("ImageJ: planes behind the only directory, as in stacks of 4 GiB", async () => {
    for (const littleEndian of [true, false]) {
      // Written as one tall strip, then told as its first plane.
      const all: Raster = { data: Uint16Array.from(imageJ.flatMap((p) => [...p.data])), shape: [36, 8, 1] };
      const override = {
        257: { type: 4, values: [6] },
        278: { type: 4, values: [6] },
        279: { type: 4, values: [96] },
      };
      const one: MadePage[] = [{ image: all, description: text, override }];
      const { data, image } = await read(one, {}, makeTiff(one, { littleEndian }));
      expect(Array.from(data)).toEqual(whole);
      expect(image.spacing).toBeUndefined();
      const more = [
        { ...one[0]!, description: text.replace("images=6", "images=99").replace("slices=3", "slices=49") },
      ];
      await expect(open(more)).rejects.toThrow(
        /states 99 planes, and the file holds \d+; copy the file again/,
      );
    }
  });

  test("ImageJ: pages missing, packed pages missing, absurd numbers", async () => {
    await expect(open(pages(imageJ.slice(0, 4), text))).rejects.toThrow(
      "states 6 planes and 4 pages are there",
    );
    const packed = [{ image: imageJ[0]!, description: text, compression: "deflate" as const }];
    await expect(open(packed)).rejects.toThrow("states 6 planes, and it has one page alone");
    await expect(open(pages(imageJ, text.replace("=6", "=1e300")))).rejects.toThrow("which cannot be read");
    await expect(open(pages(imageJ, text.replace("=6", "=-1")))).rejects.toThrow("which cannot be read");
  });

  test("times and planes without a meaning are rejected; the user's choice counts", async () => {
    const times = text.replace("slices=3", "frames=3");
    await expect(open(pages(imageJ, times))).rejects.toThrow("a series of 3 times");
    const bare = "ImageJ=1.54f\nimages=6\nunit=micron\n";
    await expect(open(pages(imageJ, bare))).rejects.toThrow(
      /a stack of 6 pages .* --pages-as channels or --pages-as z/,
    );
    expect((await open(pages(imageJ, bare), { pagesAs: "z" })).levels[0]!.shape).toEqual([6, 6, 8]);
    expect((await open(pages(imageJ, times), { pagesAs: "z" })).levels[0]!.shape).toEqual([6, 6, 8]);
  });

  test("ImageJ: one page with a unit", async () => {
    const one = pages([imageJ[0]!], "ImageJ=1.54f\nunit=micron\n");
    expect((await open(one)).spacing).toEqual({ values: [0.25, 0.25], unit: "micrometer" });
    const unknown = pages([imageJ[0]!], "ImageJ=1.54f\nunit=pixel\n");
    expect((await open(unknown)).spacing).toBeUndefined();
  });

  test.each([
    ["ZCYX", [3, 2, 6, 8], imageJ],
    ["CZYX", [2, 3, 6, 8], [0, 1].flatMap((c) => [0, 1, 2].map((z) => plane(z, c)))],
    ["TZCYXS", [1, 3, 2, 6, 8, 1], imageJ],
  ])("tifffile: %s", async (axes, shape, list) => {
    const description = JSON.stringify({ shape, axes, unit: "um", spacing: 2 });
    const { data, image } = await read(pages(list, description));
    expect(Array.from(data)).toEqual(whole);
    expect([image.axes, image.spacing?.values]).toEqual(["zyx", [2, 0.25, 0.25]]);
  });

  test("tifffile: no axes, times, and unknown ones", async () => {
    const described = (axes?: string) => pages(imageJ, JSON.stringify({ shape: [6, 6, 8], axes }));
    await expect(open(described())).rejects.toThrow(/--pages-as/);
    await expect(open(described("QYX"))).rejects.toThrow(/--pages-as/);
    await expect(open(described("TYX"))).rejects.toThrow("a series of 6 times");
    expect((await open(described("QYX"), { pagesAs: "channels" })).channels).toHaveLength(6);
  });

  test("a plain stack: the user's choice, with every page's own levels", async () => {
    const sub = (list: Raster[]) =>
      list.map((image) => ({
        image,
        subPages: [{ image: { ...filled([3, 4, 1], 7), data: new Uint16Array(12).fill(7) } }],
      }));
    await expect(open(sub(imageJ))).rejects.toThrow(/a stack of 6 pages of equal size/);
    const { image } = await read(sub(imageJ), { pagesAs: "channels" });
    expect([image.channels.length, image.levels.map((l) => l.shape)]).toEqual([
      6,
      [
        [6, 8],
        [3, 4],
      ],
    ]);
    const lower = await image.readRegion(1, { origin: [0, 0], size: [3, 4] });
    expect(new Set(lower.data)).toEqual(new Set([7]));
  });

  test("MetaMorph: planes behind the only directory, whose meaning the user states", async () => {
    const all: Raster = { data: Uint16Array.from(imageJ.flatMap((p) => [...p.data])), shape: [36, 8, 1] };
    const long = (...values: number[]) => ({ type: 4, values });
    const override = { 257: long(6), 278: long(6), 279: long(96), 33629: long(1, 2, 3, 4, 5, 6) };
    await expect(open([{ image: all, override }])).rejects.toThrow(/a stack of 6 pages .* --pages-as/);
    const { data, image } = await read([{ image: all, override }], { pagesAs: "z" });
    expect([image.format, image.levels[0]!.shape]).toEqual(["MetaMorph TIFF (stripped)", [6, 6, 8]]);
    expect(Array.from(data)).toEqual([...all.data]);
  });

  test("a stack with a truncated list of pages is rejected", async () => {
    const bytes = makeTiff(pages(imageJ));
    const view = new DataView(bytes.buffer);
    let at = view.getUint32(4, true);
    for (let i = 0; i < 3; i++) at = view.getUint32(at + 2 + 12 * view.getUint16(at, true), true);
    view.setUint32(at + 2 + 12 * view.getUint16(at, true), 2 ** 31, true);
    await expect(open([], { pagesAs: "z" }, bytes)).rejects.toThrow(/leads nowhere, so planes are missing/);
  });
});

describe("OME-TIFF", () => {
  const ome = (pixels: string, inside = "") =>
    `<OME><Image><Pixels DimensionOrder="XYCZT" SizeX="60" SizeY="40" ${pixels}>${inside}</Pixels></Image></OME>`;

  test.each([
    ["no Channel elements", ""],
    ["one without samples per pixel", "<Channel/>"],
    ["three without, for one page", "<Channel/><Channel/><Channel/>"],
    ["three of one sample, for one page", '<Channel SamplesPerPixel="1"/>'.repeat(3)],
    [
      "TiffData that count samples as channels",
      '<TiffData FirstC="0" IFD="0"/><TiffData FirstC="2" IFD="0"/>',
    ],
  ])("RGB with %s", async (_, inside) => {
    const description = ome('SizeC="3" SizeZ="1" SizeT="1"', inside);
    const { data, image } = await read([{ image: picture, description }]);
    expect(data).toEqual(picture.data);
    expect(image.channels.map(({ name }) => name)).toEqual(["red", "green", "blue"]);
  });

  test("a colour map states how a channel was displayed", async () => {
    const image = pattern("uint8", [40, 60, 1]);
    const map = { type: 3, values: Array.from({ length: 768 }, (_, i) => (i * 40503) & 0xffff) };
    const description = ome('SizeC="1" SizeZ="1" SizeT="1"');
    const opened = await read([{ image, photometric: 3, override: { 320: map }, description }]);
    expect(opened.image.channels).toEqual([{}]);
    expect(opened.data).toEqual(image.data);
  });

  test.each(['SizeC="60000" SizeZ="1"', 'SizeC="1" SizeZ="1000000"', 'SizeC="1000000" SizeZ="1000000"'])(
    "%s in one page is rejected at once",
    async (sizes) => {
      const datas = '<TiffData FirstC="0" PlaneCount="1000000"/>'.repeat(2000);
      const description = ome(`${sizes} SizeT="1"`, datas);
      const start = performance.now();
      await expect(open([{ image: pattern("uint8", [40, 60, 1]), description }])).rejects.toThrow(
        /pages, and it has 1; copy the file again/,
      );
      expect(performance.now() - start).toBeLessThan(5000);
    },
  );

  test("invalid sizes, metadata elsewhere, and companions alone are rejected", async () => {
    const image = pattern("uint8", [40, 60, 1]);
    const refused = (description: string) => expect(open([{ image, description }])).rejects;
    await refused(ome('SizeC="-3"')).toThrow("sizes that are no whole numbers");
    await refused(ome('SizeC="NaN"')).toThrow("sizes that are no whole numbers");
    await refused('<OME><BinaryOnly MetadataFile="a.companion.ome"/></OME>').toThrow(
      "its metadata is in another file (a.companion.ome)",
    );
    await refused("<OME></OME>").toThrow("describes no image");
    const named = (name: string) => `<Image Name="${name}"><Pixels SizeX="60" SizeY="40"/></Image>`;
    await refused(`<OME>${named("label image")}${named("macro image")}</OME>`).toThrow(
      "2 images are all called label",
    );
  });
});

import { deflateSync } from "node:zlib";
import { zipSync } from "fflate";
import { makeSlideLevel } from "../builders/dicom-slide.ts";
import { type Elements, encodeRle, makeDicom, SYNTAX } from "../builders/make-dicom.ts";
import { makeBlockJpeg, makeLosslessJpeg } from "../builders/make-jpeg.ts";
import { type MadeNifti, makeNifti } from "../builders/make-nifti.ts";
import { type MadePng, makePng } from "../builders/make-png.ts";
import { type MadeOptions, type MadePage, makeTiff } from "../builders/make-tiff.ts";
import { type MadeZarr, makeOmeZarr } from "../builders/make-zarr.ts";
import { pattern } from "../builders/pattern.ts";
import { seed } from "./made-seed.ts";
import { packages, texts } from "./made-texts.ts";
import { concat } from "./mutate-bytes.ts";
import type { Format, Objects, Seed } from "./seeds.ts";

/** Generated seeds, each made on first use. */
export function madeSeeds(): Seed[] {
  return [
    ...large(),
    ...tiffs(),
    ...dicoms(),
    ...volumes(),
    ...pictures(),
    ...zarrs(),
    ...texts(),
    ...packages(),
  ];
}

/** Rarely chosen, because they take long. */
const RARE = 600_000;

/** Pictures of zeros: small files with many samples, to measure memory. */
function large(): Seed[] {
  const side = 9000;
  const black = (depth: number, colorType: number, interlaced: number) => () => {
    const [before, after] = [makePng({ ...ABOUT, colorType: 0 }, BLANK), new Uint8Array(12)];
    const header = before.slice(0, 33);
    const view = new DataView(header.buffer);
    view.setUint32(16, side);
    view.setUint32(20, side);
    header.set([depth, colorType, 0, 0, interlaced], 24);
    const row = 1 + Math.ceil((side * depth * (colorType === 2 ? 3 : 1)) / 8);
    const data = deflateSync(new Uint8Array(row * side + (interlaced ? 8 * side : 0)), { level: 1 });
    const length = new Uint8Array(8);
    new DataView(length.buffer).setUint32(0, data.length);
    length.set([0x49, 0x44, 0x41, 0x54], 4);
    after.set([0x49, 0x45, 0x4e, 0x44], 4);
    return concat(header, length, data, new Uint8Array(4), after);
  };
  const strip = (samples: number) => () => {
    const packed = deflateSync(new Uint8Array(side * side * samples), { level: 1 });
    const image = pattern("uint8", [2, 2, samples]);
    const long = (...values: number[]) => ({ type: 4, values });
    const override = { 256: long(side), 257: long(side), 278: long(side), 259: { type: 3, values: [8] } };
    return makeTiff([{ image, pack: () => packed, override }]);
  };
  const series = () => Object.fromEntries(Array.from({ length: 1500 }, (_, z) => [`${z}.dcm`, slice(z)]));
  const channels: Partial<MadeZarr> = { shape: [64, 120, 160], chunks: [1, 120, 160], dtype: "float32" };
  const about: MadeZarr = { version: "0.4", axes: "cyx", shape: [], chunks: [], dtype: "float32" };
  return [
    seed("png", "large PNG", black(8, 2, 0), RARE),
    seed("png", "large grey PNG of 16 bits", black(16, 0, 0), RARE),
    seed("png", "large interlaced PNG", black(8, 0, 1), RARE),
    seed("tiff", "large strip of colours", strip(3), RARE),
    seed("tiff", "large strip of five samples", strip(5), 2 * RARE),
    seed(
      "nifti",
      "large packed NIfTI",
      () => makeNifti({ type: "uint8", size: [400, 400, 300], data: new Uint8Array(48e6), gzip: true }),
      RARE,
    ),
    seed("zip", "many slices", () => zipSync(series(), { level: 1 }), RARE),
    seed("zarr", "many channels", () => makeOmeZarr({ ...about, ...channels }).objects, RARE),
  ];
}

const OME = (attributes: string, inner: string) =>
  `<?xml version="1.0" encoding="UTF-8"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"><Image ID="Image:0" Name="made"><Pixels ID="Pixels:0" DimensionOrder="XYZCT" Type="uint8" SizeX="60" SizeY="40" ${attributes} PhysicalSizeX="0.5" PhysicalSizeXUnit="µm" PhysicalSizeY="0.5" PhysicalSizeYUnit="µm">${inner}</Pixels></Image></OME>`;

function tiffs(): Seed[] {
  const image = pattern("uint8", [40, 60, 3]);
  const grey = pattern("uint8", [40, 60, 1]);
  const half: MadePage = { image: pattern("uint8", [20, 30, 3]), tile: [16, 16], subfileType: 1 };
  const tiff = (name: string, pages: readonly MadePage[], options?: MadeOptions, format: Format = "tiff") =>
    seed(format, name, () => makeTiff(pages, options));
  const jpegTile: MadePage = {
    image: pattern("uint8", [32, 32, 3]),
    tile: [16, 16],
    photometric: 6,
    pack: () =>
      makeBlockJpeg({ width: 16, height: 16, components: 3 }, (x, y, c) => 40 * x + 90 * y + 20 * c),
    override: { 259: { type: 3, values: [7] } },
  };
  const stack = Array.from({ length: 4 }, (): MadePage => ({ image: grey }));
  const planes = Array.from(
    { length: 4 },
    (_, i) => `<TiffData IFD="${i}" FirstC="${i % 2}" FirstZ="${i >> 1}" PlaneCount="1"/>`,
  );
  const first = (description: string) => [{ image: grey, description }, ...stack.slice(1)];
  return [
    tiff("strips", [{ image, rowsPerStrip: 7 }]),
    tiff("tiled pyramid", [{ image, tile: [16, 16], compression: "deflate", resolution: 20_000 }, half]),
    tiff("predictor", [
      { image: pattern("uint16", [40, 60, 3]), tile: [32, 16], compression: "deflate", predictor: 2 },
    ]),
    tiff("BigTIFF", [{ image, tile: [16, 32] }, half], { bigTiff: true }),
    tiff("big endian", [{ image: pattern("uint16", [40, 60, 1]), planar: 2 }], { littleEndian: false }),
    tiff("planar float", [{ image: pattern("float32", [20, 30, 3]), planar: 2, tile: [16, 16] }]),
    tiff("SVS", [
      {
        image,
        tile: [16, 16],
        description: "Aperio Image Library v1\r\n60x40 (16x16)|AppMag = 20|MPP = 0,4990",
      },
      half,
    ]),
    tiff("JPEG tiles", [jpegTile]),
    tiff(
      "ImageJ stack",
      first("ImageJ=1.53\nimages=4\nchannels=2\nslices=2\nhyperstack=true\nunit=um\nspacing=2\n"),
    ),
    tiff("tifffile stack", first('{"shape": [4, 40, 60], "axes": "ZYX"}')),
    tiff("pages", stack),
    tiff("sub-pages", [
      { image, tile: [16, 16], subPages: [half, { ...half, image: pattern("uint8", [10, 15, 3]) }] },
    ]),
    tiff(
      "OME channels and depths",
      first(
        OME(
          'SizeC="2" SizeZ="2" SizeT="1"',
          `<Channel ID="C:0" SamplesPerPixel="1"/><Channel ID="C:1" Name="DAPI" Color="-1"/>${planes.join("")}`,
        ),
      ),
      {},
      "ome",
    ),
    tiff(
      "OME colours",
      [
        {
          image,
          tile: [16, 16],
          description: OME(
            'SizeC="3" SizeZ="1" SizeT="1" Interleaved="true"',
            '<Channel ID="C:0" SamplesPerPixel="3"/><TiffData IFD="0" PlaneCount="1"/>',
          ),
          subPages: [half],
        },
      ],
      {},
      "ome",
    ),
    tiff(
      "OME without planes",
      first(OME('SizeC="1" SizeZ="4" SizeT="1" PhysicalSizeZ="2"', "<TiffData/>")),
      { bigTiff: true },
      "ome",
    ),
    tiff(
      "OME with UUIDs",
      first(
        OME(
          'SizeC="4" SizeZ="1" SizeT="1"',
          `<TiffData FirstC="0" IFD="0"><UUID FileName="made.ome.tif">urn:uuid:1</UUID></TiffData>${planes.slice(1).join("")}`,
        ),
      ),
      {},
      "ome",
    ),
  ];
}

const CT: Elements = {
  524310: ["UI", "1.2.840.10008.5.1.4.1.1.2"],
  524384: ["CS", "CT"],
  593936: ["SQ", [{ 2621456: ["US", 99], 2145386512: ["OW", new Uint8Array(10)] }]],
  1572944: ["DS", [3]],
  2097165: ["UI", "1.2.840.999.8"],
  2097166: ["UI", "1.2.840.999.9"],
  2097207: ["DS", [1, 0, 0, 0, 1, 0]],
  2621442: ["US", 1],
  2621444: ["CS", "MONOCHROME2"],
  2621456: ["US", 12],
  2621457: ["US", 10],
  2621488: ["DS", [1, 1]],
  2621696: ["US", 16],
  2621697: ["US", 12],
  2621698: ["US", 11],
  2621699: ["US", 0],
  2625618: ["DS", [-1024]],
  2625619: ["DS", [1]],
};

function slice(z: number, syntax: string = SYNTAX.explicit, undefinedLengths = false): Uint8Array {
  const bytes = new Uint8Array(pattern("uint16", [12, 10, 1]).data.buffer as ArrayBuffer).map((b, i) =>
    i % 2 ? b & 15 : b,
  );
  const pixels =
    syntax === SYNTAX.rle
      ? ({ frames: [[encodeRle(bytes, 2, 1)]], table: "basic" } as const)
      : syntax === SYNTAX.lossless
        ? ({ frames: [[losslessJpeg()]], table: "none" } as const)
        : bytes;
  const elements: Elements = {
    ...CT,
    524312: ["UI", `1.2.840.999.${z + 20}`],
    2097171: ["IS", [z]],
    2097202: ["DS", [0, 0, 3 * z]],
  };
  return makeDicom({ syntax, elements, pixels, undefinedLengths });
}

function losslessJpeg(): Uint8Array {
  const about = {
    width: 10,
    height: 12,
    components: 1,
    bits: 12,
    predictor: 1,
    pointTransform: 0,
    restartRows: 0,
  };
  return makeLosslessJpeg(
    about,
    Array.from({ length: 120 }, (_, i) => (i * 37) % 4096),
  );
}

function dicoms(): Seed[] {
  const slices = (syntax?: string) =>
    Object.fromEntries([0, 1, 2, 3].map((z) => [`scan/${z}.dcm`, slice(z, syntax)]));
  const levels = () =>
    Object.fromEntries([1, 2, 4].map((n) => [`scan/level-${n}.dcm`, makeSlideLevel(n, 150, 110)]));
  const zipped = (objects: Objects) => zipSync(objects as Record<string, Uint8Array>);
  return [
    ...Object.entries(SYNTAX)
      .filter(([name]) => !["jpeg", "jpegLs", "jpeg2000"].includes(name))
      .map(([name, syntax]) => seed("dicom", `slice, ${name}`, () => slice(0, syntax))),
    seed("dicom", "slice, undefined lengths", () => slice(0, SYNTAX.explicit, true)),
    seed("dicom", "slide", () => makeSlideLevel(1, 150, 110)),
    seed("series", "series", () => slices()),
    seed("series", "series, RLE", () => slices(SYNTAX.rle)),
    seed("series", "slide", levels),
    seed("series", "two series and a text", () => ({
      ...slices(),
      "scan/a.txt": new Uint8Array(300),
      "scan/b/1": slice(7, SYNTAX.implicit),
    })),
    seed("zip", "series", () => zipped(slices())),
    seed("zip", "slide", () => zipped(levels())),
    seed("zip", "stored series", () => zipSync(slices(), { level: 0 })),
  ];
}

function volumes(): Seed[] {
  const rows = [
    [2, 0, 0, -9],
    [0, 2, 0, -8],
    [0, 0, 3, 5],
  ];
  const data = (n: number) => Array.from({ length: n }, (_, i) => (i * 37) % 200);
  const size = [11, 9, 7];
  const nifti = (name: string, more: Partial<MadeNifti>) =>
    seed("nifti", name, () => makeNifti({ type: "int16", size, data: data(693), ...more }));
  return [
    nifti("NIfTI", { sform: { code: 1, rows }, units: 2 }),
    nifti("NIfTI-2", { version: 2, sform: { code: 1, rows } }),
    nifti("big endian NIfTI", { littleEndian: false, slope: 2, intercept: -3 }),
    nifti("packed NIfTI", { gzip: true, qform: { code: 1, quaternion: [0, 0, 1], offset: [1, 2, 3] } }),
    nifti("packed NIfTI of floats", { gzip: true, type: "float64", dataOffset: 400 }),
    nifti("NIfTI of 64 bits", { type: "int64" }),
    nifti("packed NIfTI of times", { gzip: true, type: "uint8", size: [...size, 3], data: data(693 * 3) }),
  ];
}

const ABOUT: MadePng = {
  width: 37,
  height: 29,
  depth: 8,
  colorType: 2,
  interlaced: false,
  filter: (row) => row % 5,
};
const BLANK = new Uint8Array(37 * 29);

function pictures(): Seed[] {
  const samples = pattern("uint8", [29, 37, 4]).data;
  const png = (name: string, more: Partial<MadePng>, mask = 255) =>
    seed("png", name, () =>
      makePng(
        { ...ABOUT, ...more },
        samples.map((v) => v & mask),
      ),
    );
  const palette = Array.from({ length: 48 }, (_, i) => i * 5);
  const jpeg = (name: string, components: number, restart: number) =>
    seed("jpeg", name, () =>
      makeBlockJpeg(
        { width: 72, height: 56, components, restart },
        (x, y, c) => (x * 40 + y * 21 + c * 70) % 256,
      ),
    );
  return [
    png("PNG", {}),
    png("interlaced PNG", { interlaced: true, colorType: 6 }),
    png("PNG of 16 bits", { depth: 16, colorType: 0 }),
    png("PNG of a palette", { depth: 4, colorType: 3, palette, interlaced: true }, 15),
    png("PNG of 1 bit", { depth: 1, colorType: 0 }, 1),
    jpeg("JPEG", 3, 0),
    jpeg("grey JPEG with restarts", 1, 9),
    jpeg("JPEG of four", 4, 3),
    seed("jpeg", "lossless JPEG", losslessJpeg),
  ];
}

function zarrs(): Seed[] {
  const zarr = (name: string, more: Partial<MadeZarr>) =>
    seed(
      "zarr",
      name,
      () =>
        makeOmeZarr({
          version: "0.4",
          axes: "cyx",
          shape: [2, 20, 24],
          chunks: [1, 16, 16],
          dtype: "uint8",
          ...more,
        }).objects,
    );
  const five = { axes: "tczyx", shape: [1, 2, 3, 20, 24], chunks: [1, 1, 2, 16, 16] };
  return [
    zarr("Zarr 2", {}),
    zarr("Zarr 3", { version: "0.5" }),
    zarr("Zarr 2 of five axes", { ...five, dtype: "uint16" }),
    zarr("Zarr 3 of five axes", { ...five, version: "0.5", dtype: "float32" }),
    zarr("Zarr 2 with channels", {
      attributes: {
        omero: {
          channels: [
            { label: "DAPI", color: "0000FF" },
            { label: "x", color: "nope" },
          ],
        },
      },
    }),
  ];
}

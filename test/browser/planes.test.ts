import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Browser } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { segment } from "../../src/index.ts";
import { makeNifti } from "../builders/make-nifti.ts";
import { writeVolumePackage } from "../builders/volume-package.ts";
import { accessibilityFindings } from "./accessibility.ts";
import { openChromium, openPage, type Pixels, pictureReady, readPicture } from "./chromium.ts";
import { writeSeries } from "./made-series.ts";
import { startView } from "./view-process.ts";

/** Samples along the patient's right, front and head, and their distances in millimetres. */
const SIZE = [40, 30, 20] as const;
const STEP = [2, 3, 4] as const;
/** The object's first sample and the one after its last, along the same axes. It lies far from every middle. */
const OBJECT = [
  [28, 34],
  [20, 26],
  [3, 8],
] as const;
const [EMPTY, BODY, LABELLED] = [0, 40, 100];
/** Of class `b`, which the network gives to the object's samples. */
const COLOR = "#00ff00";
const CLASSES = [
  { name: "background", color: "#000000" },
  { name: "a", color: "#ff0000" },
  { name: "b", color: COLOR },
  { name: "c", color: "#0000ff" },
  { name: "d", color: "#ff00ff" },
];

/** The sample at a place of the patient: an object in a body, with an empty shell around it. */
function sampleAt(place: readonly number[]): number {
  if (place.some((v, axis) => v === 0 || v === SIZE[axis]! - 1)) return EMPTY;
  return place.every((v, axis) => v >= OBJECT[axis]![0] && v < OBJECT[axis]![1]) ? LABELLED : BODY;
}

/** How a file lies in the patient: for i, j and k the patient's axis, and whether the file runs against it. */
type Storage = readonly { axis: 0 | 1 | 2; flip: boolean }[];

/** The same patient, stored along other axes. Sample (0, 0, 0) of the patient lies at the origin. */
function storedVolume(storage: Storage) {
  const size = storage.map(({ axis }) => SIZE[axis]!);
  const [ni, nj, nk] = size as [number, number, number];
  const data: number[] = [];
  const place = [0, 0, 0];
  for (let k = 0; k < nk; k++)
    for (let j = 0; j < nj; j++)
      for (let i = 0; i < ni; i++) {
        [i, j, k].forEach((index, c) => {
          const { axis, flip } = storage[c]!;
          place[axis] = flip ? SIZE[axis]! - 1 - index : index;
        });
        data.push(sampleAt(place));
      }
  const rows = [0, 1, 2].map((axis) => {
    const c = storage.findIndex((stored) => stored.axis === axis);
    const { flip } = storage[c]!;
    const row = [0, 0, 0, flip ? (SIZE[axis]! - 1) * STEP[axis]! : 0];
    row[c] = flip ? -STEP[axis]! : STEP[axis]!;
    return row;
  });
  return { size, data, rows };
}

const RAS: Storage = [0, 1, 2].map((axis) => ({ axis, flip: false })) as unknown as Storage;
const LPS: Storage = [
  { axis: 0, flip: true },
  { axis: 1, flip: true },
  { axis: 2, flip: false },
];
const PIR: Storage = [
  { axis: 1, flip: true },
  { axis: 2, flip: true },
  { axis: 0, flip: false },
];

let browser: Browser;
let directory: string;
let model: string;
beforeAll(async () => {
  browser = await openChromium();
  directory = mkdtempSync(join(tmpdir(), "tilewright-planes-"));
  model = writeVolumePackage(join(directory, "model"), {
    spacing: { z: STEP[2], y: STEP[1], x: STEP[0] },
    orientation: "RAS",
    manifest: { classes: CLASSES },
  });
});
afterAll(async () => {
  await browser?.close();
  rmSync(directory, { recursive: true, force: true });
});

function writeNifti(name: string, storage: Storage): string {
  const { size, data, rows } = storedVolume(storage);
  const file = join(directory, `${name}.nii.gz`);
  writeFileSync(file, makeNifti({ type: "int16", size, data, sform: { code: 1, rows }, gzip: true }));
  return file;
}

function writePatientSeries(): string {
  const { size, data } = storedVolume(LPS);
  const folder = join(directory, "series");
  writeSeries(folder, {
    size: size as [number, number, number],
    step: STEP,
    data,
    // DICOM's x and y point to the left and the back.
    position: [-(SIZE[0] - 1) * STEP[0], -(SIZE[1] - 1) * STEP[1], 0],
  });
  return folder;
}

/** A quarter of the picture that shows a plane. */
interface Tile {
  left: number;
  top: number;
  /** Where the plane's right and down point: the patient's axis, and whether against it. */
  right: { axis: 0 | 1 | 2; flip: boolean };
  down: { axis: 0 | 1 | 2; flip: boolean };
}

/** In the radiological convention the patient's right is on the left. */
const TILES: Record<string, Tile> = {
  axial: { left: 0, top: 0, right: { axis: 0, flip: true }, down: { axis: 1, flip: true } },
  coronal: { left: 0.5, top: 0, right: { axis: 0, flip: true }, down: { axis: 2, flip: true } },
  sagittal: { left: 0, top: 0.5, right: { axis: 1, flip: false }, down: { axis: 2, flip: true } },
};

const isGreen = ([r, g, b]: readonly number[]) => g! > 200 && r! < 60 && b! < 60;
const isGrey = ([r, g, b]: readonly number[]) => r === g && g === b && r! > 60;

/** First and last row and column where at least a third of the most matching pixels of a line match. */
function boxOf(pixels: Pixels, { left, top }: Tile, matches: (color: readonly number[]) => boolean) {
  const width = Math.floor(pixels.width / 2);
  const height = Math.floor(pixels.height / 2);
  const columns = new Array<number>(width).fill(0);
  const rows = new Array<number>(height).fill(0);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      if (!matches(pixels.at(Math.floor(left * pixels.width) + x, Math.floor(top * pixels.height) + y)))
        continue;
      columns[x]!++;
      rows[y]!++;
    }
  }
  const ends = (counts: readonly number[]) => {
    const least = Math.max(1, Math.max(...counts) / 3);
    return [counts.findIndex((n) => n >= least), counts.findLastIndex((n) => n >= least) + 1] as const;
  };
  return { columns: ends(columns), rows: ends(rows) };
}

/** Where the object must lie between the ends of the body, from 0 to 1, along a direction of the screen. */
function expectedPart({ axis, flip }: { axis: 0 | 1 | 2; flip: boolean }): [number, number] {
  const length = SIZE[axis]! - 2;
  const [first, after] = OBJECT[axis]!.map((v) => (v - 1) / length) as [number, number];
  return flip ? [1 - after, 1 - first] : [first, after];
}

function comparePlane(pixels: Pixels, tile: Tile): void {
  const body = boxOf(pixels, tile, (color) => isGrey(color) || isGreen(color));
  const object = boxOf(pixels, tile, isGreen);
  for (const [side, direction] of [
    ["columns", tile.right],
    ["rows", tile.down],
  ] as const) {
    const [from, to] = body[side];
    const [first, after] = expectedPart(direction);
    expect(Math.abs(object[side][0] - (from + first * (to - from)))).toBeLessThanOrEqual(2);
    expect(Math.abs(object[side][1] - (from + after * (to - from)))).toBeLessThanOrEqual(2);
  }
  // A millimetre is as long down as across.
  const scale = (side: readonly [number, number], axis: number) =>
    (side[1] - side[0]) / ((SIZE[axis]! - 2) * STEP[axis]!);
  const ratio = scale(body.columns, tile.right.axis) / scale(body.rows, tile.down.axis);
  expect(Math.abs(ratio - 1)).toBeLessThan(0.03);
}

/** Planes through the middle of the object, with labels that cover the image. */
const PLACE = OBJECT.map(([a, b], axis) => (((a + b - 1) / 2) * STEP[axis]!).toFixed(1)).join("_");

async function openPlanes(place: string) {
  const view = await startView([place]);
  const opened = await openPage(browser, view.url);
  await pictureReady(opened.page);
  await opened.page.goto(`${new URL(view.url).origin}/?planes#labels=1&style=fill&planes=${PLACE}`);
  await opened.page.waitForSelector(".volume canvas[data-ready=true]", { timeout: 60_000 });
  return { ...opened, view };
}

describe("three planes of a volume", () => {
  it.each(["RAS", "LPS", "PIR", "series"] as const)("of %s lie where the patient has them", async (name) => {
    const source = name === "series" ? writePatientSeries() : writeNifti(name, { RAS, LPS, PIR }[name]);
    const out = join(directory, `out-${name}`);
    await segment({ source, model, out, threads: 1 });
    const { page, problems, close, view } = await openPlanes(out);
    const pixels = await readPicture(page, ".volume canvas");
    for (const tile of Object.values(TILES)) comparePlane(pixels, tile);
    expect(problems).toEqual([]);
    await close();
    await view.stop();
  });

  it("follow sliders, classes and the convention, without a serious finding of axe", async () => {
    const out = join(directory, "out-controls");
    await segment({ source: writeNifti("controls", RAS), model, out, threads: 1 });
    const { page, problems, close, view } = await openPlanes(out);
    const count = async (matches: (color: readonly number[]) => boolean) => {
      const pixels = await readPicture(page, ".volume canvas");
      const { columns } = boxOf(pixels, TILES.axial!, matches);
      return columns;
    };
    const before = await count(isGreen);
    await page.getByLabel("The patient's left is on the right").uncheck();
    await expect.poll(() => count(isGreen)).not.toEqual(before);
    await page.getByLabel("b", { exact: true }).uncheck();
    await expect.poll(() => count(isGreen)).toEqual([-1, 0]);
    await page.getByLabel("Outlines").check();
    await expect.poll(() => count(isGreen)).toEqual([-1, 0]);
    await page.getByLabel("b", { exact: true }).check();
    await expect.poll(() => count(isGreen)).not.toEqual([-1, 0]);
    // The middle of an outlined object shows the image.
    const outlined = await readPicture(page, ".volume canvas");
    const box = boxOf(outlined, TILES.axial!, isGreen);
    const middle = [box.columns, box.rows].map(([a, b]) => Math.round(a + 0.35 * (b - a)));
    expect(isGreen(outlined.at(middle[0]!, middle[1]!))).toBe(false);
    await page.getByLabel("Filled").check();
    const head = page.getByLabel("Head");
    await head.focus();
    await page.keyboard.press("End");
    await expect.poll(() => count(isGreen)).toEqual([-1, 0]);
    await expect.poll(() => page.url()).toMatch(/planes=[-\d.]+_[-\d.]+_7\d/);
    expect(await accessibilityFindings(page)).toEqual([]);
    await page.getByRole("button", { name: "Planes" }).click();
    await pictureReady(page);
    await expect.poll(() => page.url()).not.toContain("planes=");
    expect(problems).toEqual([]);
    await close();
    await view.stop();
  });
});

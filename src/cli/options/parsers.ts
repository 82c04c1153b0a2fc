import { readFileSync, statSync } from "node:fs";
import { basename } from "node:path";
import { InvalidArgumentError } from "commander";
import type { JobSettings } from "../../orchestrator/settings.ts";
import { MAX_REGION_FILE_BYTES, parseRegionPolygons } from "../../portable/parse-polygons.ts";

/** Parsers of option values. Each throws commander's `InvalidArgumentError`, which ends the command with usage status. */

function parseNumber(text: string, fits: (n: number) => boolean, what: string): number {
  const n = Number(text);
  if (text.trim() === "" || !Number.isFinite(n) || !fits(n))
    throw new InvalidArgumentError(`it must be ${what}.`);
  return n;
}

export function parsePositive(text: string): number {
  return parseNumber(text, (n) => n > 0, "a number above 0");
}

export function parseAtLeastOne(text: string): number {
  return parseNumber(text, (n) => n >= 1, "a number from 1");
}

export function parseWhole(text: string): number {
  return parseNumber(text, (n) => Number.isInteger(n) && n >= 0, "a whole number from 0");
}

export function parseCount(text: string): number {
  return parseNumber(text, (n) => Number.isInteger(n) && n >= 1 && n <= 1024, "a whole number from 1");
}

export function parsePort(text: string): number {
  return parseNumber(text, (n) => Number.isInteger(n) && n >= 0 && n <= 65_535, "a port");
}

/** At least 0 and below 1. */
export function parseRatio(text: string): number {
  return parseNumber(text, (n) => n >= 0 && n < 1, "at least 0 and below 1");
}

export function parseUrl(text: string): string {
  if (/^https?:\/\//.test(text) && URL.canParse(text)) return text;
  throw new InvalidArgumentError("it must be an address that begins with https:// or http://.");
}

/** Whole numbers, separated by commas. */
export function parseWholeList(text: string): number[] {
  return text.split(",").map(parseWhole);
}

/** A rectangle or polygons of a region. */
export type RegionFlag = Pick<JobSettings, "roi" | "polygons">;

/** `x,y,width,height` in level-0 pixels, or the path of a GeoJSON file with polygons. */
export function parseRegion(text: string): RegionFlag {
  if (/\.(geo)?json$/i.test(text)) return { polygons: readPolygons(text) };
  const parts = text.split(",").map(Number);
  if (parts.length !== 4 || !parts.every(Number.isFinite)) {
    throw new InvalidArgumentError(
      "it must be x,y,width,height in level-0 pixels, or a .geojson file with polygons.",
    );
  }
  return { roi: parts as [number, number, number, number] };
}

function readPolygons(path: string): JobSettings["polygons"] {
  const name = basename(path);
  try {
    // Before reading: the wrong file may be large.
    const { size } = statSync(path);
    if (size > MAX_REGION_FILE_BYTES)
      throw new Error(
        `${name} has ${size} bytes, the limit is ${MAX_REGION_FILE_BYTES}: export fewer annotations`,
      );
    return parseRegionPolygons(readFileSync(path), name);
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    if (code === "ENOENT") throw new InvalidArgumentError(`${name} does not exist; check its path.`);
    throw new InvalidArgumentError(`${message}.`);
  }
}

/** For options that may be given more than once. */
export function collect(value: string, before: string[] = []): string[] {
  return [...before, value];
}

import { InvalidArgumentError } from "commander";

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

/** `x,y,width,height` in level-0 pixels. */
export function parseRegion(text: string): [number, number, number, number] {
  const parts = text.split(",").map(Number);
  if (parts.length !== 4 || !parts.every(Number.isFinite)) {
    throw new InvalidArgumentError("it must be x,y,width,height in level-0 pixels.");
  }
  return parts as [number, number, number, number];
}

/** For options that may be given more than once. */
export function collect(value: string, before: string[] = []): string[] {
  return [...before, value];
}

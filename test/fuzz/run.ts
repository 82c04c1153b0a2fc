/**
 * Fuzzing by mutated files: `npm run test:fuzz -- [--start N] [--count K] [--only FORMAT]`. Every file can be made
 * again from its number. Exits with 1 if a file leads to an untyped error, takes more than 10 s or more than 1 GB.
 */
import { parseArgs } from "node:util";
import { Campaign } from "./campaign.ts";
import { FORMATS, type Format } from "./seeds.ts";

const { values } = parseArgs({
  options: {
    start: { type: "string", default: "1" },
    count: { type: "string", default: "20000" },
    only: { type: "string" },
  },
});
const whole = (name: "start" | "count"): number => {
  const value = Number(values[name]);
  if (!Number.isSafeInteger(value) || value < 0) throw new Error(`--${name} must be a whole number`);
  return value;
};
const only = values.only as Format | undefined;
if (only !== undefined && !FORMATS.includes(only))
  throw new Error(`--only must be one of ${FORMATS.join(", ")}`);
const campaign = new Campaign(whole("start"), whole("count"), only);
process.exitCode = (await campaign.run()) ? 0 : 1;

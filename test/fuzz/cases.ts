import { gunzipSync, gzipSync } from "node:zlib";
import type { OpenOptions } from "../../src/readers/open-image.ts";
import { Dice } from "./dice.ts";
import {
  gzipFields,
  jpegFields,
  niftiFields,
  pngFields,
  tiffFields,
  tiffTexts,
  zipFields,
} from "./fields.ts";
import { concat, type Mutated, mutateBytes, mutateField, splice } from "./mutate-bytes.ts";
import { dicomFields, mutateElement } from "./mutate-dicom.ts";
import { mutateJsonBytes, mutateText, mutateXml } from "./mutate-text.ts";
import type { Format, Objects, Seed } from "./seeds.ts";

/** One mutated file or folder, and how to open it. */
export interface Case {
  number: number;
  format: Format;
  seed: string;
  operation: string;
  key: string;
  objects: Objects;
  options: OpenOptions;
  /** Whether it is on disk, not in memory. */
  onDisk: boolean;
}

/** Frequency of each format, of 100. */
const SHARES: Record<Format, number> = {
  tiff: 26,
  ome: 10,
  dicom: 13,
  series: 7,
  zip: 4,
  nifti: 10,
  png: 6,
  jpeg: 6,
  zarr: 12,
  model: 2,
  manifest: 2,
  mask: 2,
};

/** The case of a number: always the same for the same seeds. */
export function makeCase(number: number, seeds: Record<Format, Seed[]>, only?: Format): Case {
  const dice = new Dice(number);
  const formats = Object.keys(SHARES) as Format[];
  const drawn = dice.weighted(formats, (format) => SHARES[format]);
  const format = only ?? drawn;
  const choose = (of: Format) => dice.weighted(seeds[of], ({ size }) => 1 / (1 + size / 50_000));
  const seed = choose(format);
  let objects: Objects = seed.load();
  const done: string[] = [];
  for (let more = true; more; more = dice.chance(0.35)) {
    const { objects: changed, what } = mutateObjects(format, objects, dice, () =>
      choose(dice.chance(0.9) ? format : dice.pick(formats)),
    );
    objects = changed;
    done.push(what);
  }
  return {
    number,
    format,
    seed: seed.name,
    operation: done.join("; "),
    key: seed.key,
    objects,
    options: optionsFor(format, dice),
    onDisk: dice.chance(0.2),
  };
}

function optionsFor(format: Format, dice: Dice): OpenOptions {
  const options: OpenOptions = {};
  if (dice.chance(0.1)) options.mpp = 0.5;
  if (/dicom|series|zip/.test(format) && dice.chance(0.2)) options.series = 1 + dice.below(3);
  if (format === "nifti" && dice.chance(0.3)) options.time = 1 + dice.below(3);
  if (/tiff|ome/.test(format) && dice.chance(0.2)) options.pagesAs = dice.pick(["channels", "z"]);
  if (dice.chance(0.1)) options.reuseAcrossRequests = true;
  return options;
}

/** Changes one of several files, or which files exist. */
function mutateObjects(
  format: Format,
  objects: Objects,
  dice: Dice,
  other: () => Seed,
): { objects: Objects; what: string } {
  const names = Object.keys(objects);
  const isJson = (name: string) => /(\.json|\.zattrs|\.zarray|\.zgroup|\.geojson)$/.test(name);
  const metadata = names.filter(isJson);
  const name =
    metadata.length > 0 && dice.chance(format === "zarr" ? 0.75 : 1) ? dice.pick(metadata) : dice.pick(names);
  const copy = { ...objects };
  const at = names.length > 1 ? `${name.slice(name.indexOf("/") + 1)}: ` : "";
  if (names.length > 1 && format !== "model" && dice.chance(0.1)) {
    if (dice.chance(0.5)) {
      delete copy[name];
      return { objects: copy, what: `${at}removed` };
    }
    const from = dice.pick(names);
    copy[name] = objects[from]!;
    return { objects: copy, what: `${at}is ${from}` };
  }
  const bytes = objects[name]!;
  if (dice.chance(0.08)) {
    const seed = other();
    const theirs = Object.values(seed.load());
    const { bytes: changed, what } = splice(bytes, dice.pick(theirs), dice);
    copy[name] = changed;
    return { objects: copy, what: `${at}${what} (${seed.name})` };
  }
  const { bytes: changed, what } = isJson(name)
    ? mutateJsonBytes(bytes, dice, (d) => d.chance(format === "mask" ? 0.2 : 0.05))
    : mutateFile(format, bytes, dice);
  copy[name] = changed;
  return { objects: copy, what: at + what };
}

function mutateFile(format: Format, bytes: Uint8Array, dice: Dice): Mutated {
  if (format === "manifest") return mutateText(bytes, dice);
  if (bytes.length === 0 || dice.chance(0.35)) return mutateBytes(bytes, dice);
  switch (format) {
    case "ome":
      return dice.chance(0.65) ? mutateDescription(bytes, dice) : mutateField(bytes, tiffFields(bytes), dice);
    case "tiff":
      return dice.chance(0.1) ? mutateDescription(bytes, dice) : mutateField(bytes, tiffFields(bytes), dice);
    case "dicom":
    case "series":
      return dice.chance(0.4) ? mutateElement(bytes, dice) : mutateField(bytes, dicomFields(bytes), dice);
    case "zip":
      return mutateField(bytes, zipFields(bytes), dice);
    case "png":
      return mutateField(bytes, pngFields(bytes), dice);
    case "jpeg":
      return mutateField(bytes, jpegFields(bytes), dice);
    case "nifti":
      return mutateNifti(bytes, dice);
    default:
      return mutateBytes(bytes, dice);
  }
}

/** Mostly mutates the volume inside the gzip file, sometimes the gzip file. */
function mutateNifti(bytes: Uint8Array, dice: Dice): Mutated {
  if (bytes[0] !== 0x1f) return mutateField(bytes, niftiFields(bytes), dice);
  if (dice.chance(0.3)) return mutateField(bytes, gzipFields(bytes), dice);
  let unpacked: Uint8Array;
  try {
    unpacked = gunzipSync(bytes, { maxOutputLength: 32 << 20 });
  } catch {
    return mutateBytes(bytes, dice);
  }
  const { bytes: changed, what } = dice.chance(0.2)
    ? mutateBytes(unpacked, dice)
    : mutateField(unpacked, niftiFields(unpacked), dice);
  return { bytes: gzipSync(changed, { level: 1 }), what: `unpacked, ${what}, packed` };
}

/** Changes the text of tag 270 and moves it to the end of the file, where any length fits. */
function mutateDescription(bytes: Uint8Array, dice: Dice): Mutated {
  const texts = tiffTexts(bytes);
  if (texts.length === 0) return mutateField(bytes, tiffFields(bytes), dice);
  const { from, to } = texts[0]!;
  const source = new TextDecoder().decode(bytes.subarray(from, to)).replace(/\0+$/, "");
  const isXml = source.trimStart().startsWith("<");
  let text: Uint8Array;
  let what: string;
  if (isXml) {
    const changed = mutateXml(source, dice);
    text = new TextEncoder().encode(changed.text);
    what = changed.what;
  } else ({ bytes: text, what } = mutateText(new TextEncoder().encode(source), dice));
  const fields = tiffFields(bytes);
  const at = fields.findIndex(({ name }) => name === "count of tag 270");
  const out = concat(bytes, text, new Uint8Array(1));
  const put = (index: number, value: number) => {
    const { at, size, little } = fields[index]!;
    const view = new DataView(out.buffer);
    if (size === 8) view.setBigUint64(at, BigInt(value), little);
    else view.setUint32(at, value, little);
  };
  put(at, text.length + 1);
  // A text of a few bytes would be stored in the entry itself.
  if (text.length >= 8) put(at + 1, bytes.length);
  return { bytes: out, what: `description, ${what}` };
}

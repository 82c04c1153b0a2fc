import type { ImageLimits } from "../../image/limits.ts";
import type { ObjectStore } from "../../storage/object-store.ts";
import { readSlice, type SliceFile } from "./slices.ts";

/**
 * Removes duplicates of slices, which exports and copies produce. Two slices are duplicates when they lie at the same
 * position and either have the same UID or the same values. Other slices at one position stay, to be rejected.
 * @param files in the order of their names; the first of several is kept
 */
export async function withoutDuplicates(
  store: ObjectStore,
  files: readonly SliceFile[],
  limits: ImageLimits,
  count: (bytesRead: number) => void,
  signal?: AbortSignal,
): Promise<{ files: SliceFile[]; duplicates: string[] }> {
  const byPlace = new Map<string, SliceFile[]>();
  for (const file of files) {
    const place = JSON.stringify([file.places, file.format, file.rescales]);
    const there = byPlace.get(place);
    if (there) there.push(file);
    else byPlace.set(place, [file]);
  }
  const dropped = new Set<SliceFile>();
  for (const [first, ...others] of byPlace.values()) {
    for (const other of others) {
      const same =
        (first!.sopInstance !== "" && first!.sopInstance === other.sopInstance) ||
        (await holdTheSame(store, first!, other, limits, count, signal));
      // Different slices at one position are rejected later.
      if (!same) break;
      dropped.add(other);
    }
  }
  return {
    files: files.filter((file) => !dropped.has(file)),
    duplicates: [...dropped].map(({ key }) => key),
  };
}

async function holdTheSame(
  store: ObjectStore,
  a: SliceFile,
  b: SliceFile,
  limits: ImageLimits,
  count: (bytesRead: number) => void,
  signal?: AbortSignal,
): Promise<boolean> {
  for (let frame = 0; frame < a.places.length; frame++) {
    const { data } = await readSlice(store, a, frame, limits, count, signal);
    const other = await readSlice(store, b, frame, limits, count, signal);
    if (!data.every((value, i) => value === other.data[i])) return false;
  }
  return true;
}

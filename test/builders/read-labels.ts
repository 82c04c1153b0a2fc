import { openSource } from "../../src/local/open-source.ts";

/** Level 0 of a label TIFF, through our own reader. */
export async function readLabels(
  path: string,
): Promise<{ data: ArrayLike<number>; shape: readonly number[] }> {
  const { source, close } = await openSource(path, 1);
  try {
    const size = source.levels[0]!.shape;
    const { data } = await source.readRegion(0, { origin: size.map(() => 0), size });
    return { data, shape: size };
  } finally {
    await close();
  }
}

import type { ImageSource } from "../image/image-source.ts";
import { JobError } from "../orchestrator/errors.ts";
import { type OpenOptions, openImage } from "../readers/open-image.ts";
import { BlobStore } from "../storage/blob-store.ts";
import type { ObjectStore } from "../storage/object-store.ts";
import type { OpenedAddress } from "../storage/opened-address.ts";

/** An object of a store. */
export interface StoredSource {
  store: ObjectStore;
  key: string;
}

/**
 * An image: a path (Node only), an address, the bytes of a file, an object of a store, or an image that is open already,
 * which the caller closes.
 */
export type SourceInput = string | URL | Blob | Uint8Array | StoredSource | ImageSource;

/** Choices that a file may leave open. */
export type SourceChoices = Pick<OpenOptions, "mpp" | "series" | "time" | "pagesAs">;

export interface OpenedSource {
  source: ImageSource;
  name: string;
  close(): Promise<void>;
}

/** Opens addresses: every runtime knows some kinds of them. */
export type AddressOpener = (address: string) => Promise<OpenedAddress>;

const UNNAMED = "image";

/** @throws {JobError} if `input` is none of the kinds above */
export async function locateInput(
  input: Exclude<SourceInput, ImageSource>,
  openAddress: AddressOpener,
): Promise<OpenedAddress> {
  if (typeof input === "string" || input instanceof URL) {
    return openAddress(String(input)).catch((cause) => {
      // An invalid address is an error of the caller, not of a file.
      throw cause instanceof TypeError ? new JobError(cause.message, { cause }) : cause;
    });
  }
  const close = async () => {};
  if (input instanceof Uint8Array || input instanceof Blob) {
    const name = toName((input as Partial<File>).name);
    return { store: new BlobStore(name, input), key: name, name, close };
  }
  const { store, key } = input ?? {};
  if (typeof store?.getRange === "function" && typeof key === "string") {
    return { store, key, name: key.split("/").at(-1) || UNNAMED, close };
  }
  throw new JobError(
    "the source is none of these: a path, an address, a Blob, a Uint8Array, { store, key } or an ImageSource",
  );
}

/** Opens an image of any kind. */
export async function openSourceInput(
  input: SourceInput,
  openAddress: AddressOpener,
  choices: SourceChoices & { signal?: AbortSignal } = {},
): Promise<OpenedSource> {
  const { mpp, series, time, pagesAs, signal } = choices;
  if (isImageSource(input)) {
    const name = Object.entries({ mpp, series, time, pagesAs }).find(([, value]) => value !== undefined)?.[0];
    if (name) throw new JobError(`option ${name}: the image is open already; give ${name} to openImage`);
    return { source: input, name: UNNAMED, close: async () => {} };
  }
  const located = await locateInput(input, openAddress);
  try {
    const source = await openImage(located.store, located.key, { mpp, series, time, pagesAs, signal });
    const closeImage = source.close.bind(source);
    const close = async () => {
      await closeImage();
      await located.close();
    };
    // Whoever gets the image alone closes its files and connections with it.
    return { source: Object.assign(source, { close }), name: located.name, close };
  } catch (error) {
    await located.close();
    throw error;
  }
}

export function isImageSource(input: SourceInput): input is ImageSource {
  return typeof (input as Partial<ImageSource> | undefined)?.readRegion === "function";
}

/** The name of a `File`, without anything that a path could be made of. */
function toName(name: string | undefined): string {
  const last = name?.split(/[\\/\0]/).at(-1);
  return last && last !== "." && last !== ".." ? last : UNNAMED;
}

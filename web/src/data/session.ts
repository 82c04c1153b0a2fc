import type { PlacedKey } from "./place.ts";

/** An image and, if there is one, a finished run of it: what one viewer page shows. */
export interface ViewedScan {
  name: string;
  image?: PlacedKey;
  /** Why there is no image, a sentence. */
  imageMissing?: string;
  run?: PlacedKey;
}

/** A model that the server of the page can give to the tab. */
export interface ServedModel {
  name: string;
  version: string;
  variant: string;
  place: PlacedKey;
}

/** What the server of the page offers. */
export interface PageSession {
  /** Undefined: the page segments scans that the user chooses. */
  scan?: ViewedScan;
  models: readonly ServedModel[];
}

/** What `tilewright view` serves at `/v1/view`. Roots are keys below `data/<root>/`. */
export interface ViewSession {
  name: string;
  image?: { root: string; key: string };
  imageMissing?: string;
  run?: { root: string; key: string };
  models: readonly { name: string; version: string; variant: string; root: string; key: string }[];
}

const KEY_NAME = "tilewright-token";

/** The token of this tab: from the fragment of the first address, which no server sees, then from session storage. */
export function takeToken(): string | undefined {
  const given = new URLSearchParams(location.hash.slice(1)).get("token");
  if (given !== null) {
    sessionStorage.setItem(KEY_NAME, given);
    history.replaceState(null, "", location.pathname + location.search);
  }
  return sessionStorage.getItem(KEY_NAME) ?? undefined;
}

export function keepToken(token: string | undefined): void {
  if (token === undefined) sessionStorage.removeItem(KEY_NAME);
  else sessionStorage.setItem(KEY_NAME, token);
}

/** What the command serves, or undefined if this page comes from a job service. @throws {Error} a sentence */
export async function readViewSession(token: string | undefined): Promise<PageSession | undefined> {
  const headers: Record<string, string> = token === undefined ? {} : { Authorization: `Bearer ${token}` };
  const response = await fetch("/v1/view", { headers }).catch(() => {
    throw new Error("the command that serves this page has ended; start it again and open its new address");
  });
  if (response.status === 404) return undefined;
  if (response.status === 401)
    throw new Error("this tab has no key for the page; open the address that the command printed");
  if (!response.ok) throw new Error(`the page cannot read what it should show (status ${response.status})`);
  const session = (await response.json()) as ViewSession;
  const at = ({ root, key }: { root: string; key: string }) => ({
    key,
    place: {
      kind: "server" as const,
      store: {
        base: `${location.origin}/v1/view/data/${root}/`,
        list: `${location.origin}/v1/view/list/${root}`,
        token,
      },
    },
  });
  const { name, imageMissing, image, run } = session;
  return {
    ...((image || run) && {
      scan: { name, imageMissing, ...(image && { image: at(image) }), ...(run && { run: at(run) }) },
    }),
    models: session.models.map(({ name, version, variant, ...place }) => ({
      name,
      version,
      variant,
      place: at(place),
    })),
  };
}

import type { PlacedKey } from "./place.ts";
import type { RunningLabels } from "./running-labels.ts";

/** An image and, if there is one, a finished run of it: what one viewer page shows. */
export interface ViewedScan {
  name: string;
  image?: PlacedKey;
  /** Why there is no image, a sentence. */
  imageMissing?: string;
  run?: PlacedKey;
  /** Another run of the same image, to compare with. */
  otherRun?: PlacedKey;
  /** A job that is still running; its labels are shown as they are merged. */
  running?: RunningLabels;
}

/** A model that the server of the page can give to the tab. */
export interface ServedModel {
  name: string;
  version: string;
  variant: string;
  place: PlacedKey;
}

/** The table of a cohort; `withResults` are the indexes of rows that the viewer can open. */
export interface ViewedCohort {
  name: string;
  model: string;
  columns: readonly { name: string; isNumber: boolean }[];
  rows: readonly (readonly (string | number | null)[])[];
  withResults: readonly number[];
}

/** What the server of the page offers. */
export interface PageSession {
  cohort?: ViewedCohort;
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
  otherRun?: { root: string; key: string };
  cohort?: ViewedCohort;
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
  // A scan of a cohort has an address of its own.
  const row = /^\d{1,6}$/.exec(new URLSearchParams(location.search).get("scan") ?? "")?.[0];
  const path = row === undefined ? "/v1/view" : `/v1/view/scan?row=${row}`;
  const response = await fetch(path, { headers }).catch(() => {
    throw new Error("the command that serves this page has ended; start it again and open its new address");
  });
  if (response.status === 404 && row !== undefined)
    throw new Error("this scan of the cohort has no results; open the list of its scans");
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
  const { name, imageMissing, image, run, otherRun, cohort } = session;
  return {
    cohort,
    ...((image || run) && {
      scan: {
        name,
        imageMissing,
        ...(image && { image: at(image) }),
        ...(run && { run: at(run) }),
        ...(otherRun && { otherRun: at(otherRun) }),
      },
    }),
    models: session.models.map(({ name, version, variant, ...place }) => ({
      name,
      version,
      variant,
      place: at(place),
    })),
  };
}

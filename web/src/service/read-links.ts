/** A link under which other programs read the results of one job for a while. */
export interface ReadLink {
  /** Address that names of outputs are appended to. */
  base: string;
  expiresAt: string;
  /** Origins of pages that may read it, or `*`. */
  corsOrigins: readonly string[];
}

/** A viewer on another host, opened with an output. */
export interface ViewerLink {
  name: string;
  href: string;
  /** Whether the service lets that page read it. */
  isAllowed: boolean;
  origin: string;
}

interface Viewer {
  name: string;
  page: string;
  parameter: string;
  output: string;
}

const VIEWERS: readonly Viewer[] = [
  {
    name: "Vizarr",
    page: "https://hms-dbmi.github.io/vizarr/",
    parameter: "source",
    output: "labels.ome.zarr",
  },
  {
    name: "Avivator",
    page: "https://avivator.gehlenborglab.org/",
    parameter: "image_url",
    output: "labels.ome.tiff",
  },
];

/** @throws {Error} a sentence */
export async function requestReadLink(origin: string, token: string, job: string): Promise<ReadLink> {
  const response = await fetch(`${origin}/v1/jobs/${job}/read-link`, {
    headers: { Authorization: `Bearer ${token}` },
  }).catch(() => {
    throw new Error("the service does not respond; try again");
  });
  const body = (await response.json().catch(() => ({}))) as {
    path?: string;
    expiresAt?: string;
    corsOrigins?: string[];
    error?: { message: string };
  };
  if (!response.ok || body.path === undefined)
    throw new Error(body.error?.message ?? `no link was made (status ${response.status}); try again`);
  return { base: `${origin}${body.path}`, expiresAt: body.expiresAt!, corsOrigins: body.corsOrigins ?? [] };
}

/** Names of the outputs of a job; of a directory of chunks its own name. @throws {Error} a sentence */
export async function listOutputNames(origin: string, token: string, job: string): Promise<Set<string>> {
  const response = await fetch(`${origin}/v1/jobs/${job}/outputs/run.json`, {
    headers: { Authorization: `Bearer ${token}` },
  });
  if (!response.ok) throw new Error(`the results cannot be listed (status ${response.status}); try again`);
  const { outputs } = (await response.json()) as { outputs: { name: string }[] };
  return new Set(outputs.map(({ name }) => name));
}

export function viewerLinks(link: ReadLink, outputs: ReadonlySet<string>): ViewerLink[] {
  return VIEWERS.filter(({ output }) => outputs.has(output)).map(({ name, page, parameter, output }) => {
    const { origin } = new URL(page);
    return {
      name,
      origin,
      href: `${page}?${parameter}=${encodeURIComponent(link.base + output)}`,
      isAllowed: link.corsOrigins.includes("*") || link.corsOrigins.includes(origin),
    };
  });
}

/** A script for QuPath (0.3 or newer) that adds the objects to the open image. */
export function quPathScript({ base, expiresAt }: ReadLink): string {
  return `// Adds the objects of this job to the image that is open in QuPath. The link ends at ${expiresAt}.
import qupath.lib.io.PathIO

def address = '${base}objects.geojson'
def objects = new URL(address).openStream().withCloseable { PathIO.readObjectsFromGeoJSON(it) }
addObjects(objects)
fireHierarchyUpdate()
println objects.size() + ' objects added'
`;
}

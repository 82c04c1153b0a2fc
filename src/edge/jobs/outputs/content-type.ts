/** Types of what a job writes. A browser shows these as they are; it runs none of them. */
const SHOWN = new Map(
  Object.entries({
    csv: "text/csv; charset=utf-8",
    geojson: "application/geo+json",
    json: "application/json",
    png: "image/png",
    tiff: "image/tiff",
  }),
);

/** Headers that say what a file is, and that keep a browser from making anything else of it. */
export function contentHeaders(path: string): Record<string, string> {
  const name = path.slice(path.lastIndexOf("/") + 1);
  const type = SHOWN.get(/\.([^.]+)$/.exec(name)?.[1]?.toLowerCase() ?? "");
  return {
    "Content-Type": type ?? "application/octet-stream",
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "sandbox; default-src 'none'",
    ...(type ? {} : { "Content-Disposition": `attachment; filename*=UTF-8''${encoded(name)}` }),
  };
}

/** RFC 8187: encodeURIComponent lets a few characters pass that are none of its own. */
function encoded(name: string): string {
  return encodeURIComponent(name).replace(/['()*]/g, (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`);
}

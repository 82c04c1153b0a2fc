/** Content types of outputs. Browsers display these and execute none of them. */
const SHOWN = new Map(
  Object.entries({
    csv: "text/csv; charset=utf-8",
    geojson: "application/geo+json",
    json: "application/json",
    png: "image/png",
    tiff: "image/tiff",
  }),
);

/** Headers with the type of a file, which keep browsers from treating it as another. */
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

/** Encodes for RFC 8187, which allows fewer characters than encodeURIComponent. */
function encoded(name: string): string {
  return encodeURIComponent(name).replace(/['()*]/g, (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`);
}

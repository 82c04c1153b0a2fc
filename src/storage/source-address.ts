/** A parsed source address. */
export type SourceAddress =
  | { scheme: "file"; path: string }
  /** `base` ends with "/"; `search` has no "?". */
  | { scheme: "http"; base: string; key: string; search: string }
  | { scheme: "s3"; bucket: string; key: string };

/**
 * Parses a path, `file://`, `http(s)://` or `s3://bucket/key`. Other schemes are rejected; a Windows drive letter is
 * not a scheme.
 * @throws {TypeError} with one sentence
 */
export function parseSourceAddress(source: string): SourceAddress {
  if (source.trim() === "") throw new TypeError("the source is empty; give a path or an address");
  const scheme = /^([a-z][a-z0-9+.-]+):\/\//i.exec(source)?.[1]?.toLowerCase();
  switch (scheme) {
    case undefined:
      return { scheme: "file", path: source };
    case "file": {
      const url = parseUrl(source);
      if (url.host !== "" && url.host !== "localhost") {
        throw new TypeError(
          `${source} names the host ${url.host}; file:// addresses must be local (file:///path)`,
        );
      }
      return { scheme: "file", path: filePath(source, url) };
    }
    case "http":
    case "https": {
      const url = parseUrl(source);
      const path = url.pathname.replace(/\/+$/, "");
      const slash = path.lastIndexOf("/");
      const key = safeDecode(path.slice(slash + 1));
      if (key === "") throw new TypeError(`${source} names no file; give the whole address`);
      return {
        scheme: "http",
        base: url.origin + path.slice(0, slash + 1),
        key,
        search: url.search.slice(1),
      };
    }
    case "s3": {
      const match = /^s3:\/\/([^/]+)\/(.+?)\/*$/i.exec(source);
      if (!match) throw new TypeError(`${source} names no object; write s3://bucket/key`);
      return { scheme: "s3", bucket: match[1]!, key: match[2]! };
    }
    default:
      throw new TypeError(
        `${source} begins with ${scheme}://, which is not supported; use a path, https:// or s3://`,
      );
  }
}

function parseUrl(source: string): URL {
  if (URL.canParse(source)) return new URL(source);
  throw new TypeError(`${source} is not a valid address; check how it is written`);
}

function filePath(source: string, { pathname }: URL): string {
  let path: string;
  try {
    path = decodeURIComponent(pathname);
  } catch (cause) {
    throw new TypeError(`${source} is not a valid address: write a percent sign in a name as %25`, { cause });
  }
  if (path.includes("\0")) throw new TypeError(`${source} holds a zero byte, which file names cannot have`);
  return path;
}

function safeDecode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

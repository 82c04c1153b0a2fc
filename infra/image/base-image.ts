/** What stands for Docker's images of Debian and Node where their registry is out of reach. Both need root. */
import { execFileSync } from "node:child_process";
import { chmodSync, copyFileSync, mkdirSync, rmSync, symlinkSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";

const MIRROR = process.env.DEBIAN_MIRROR ?? "http://deb.debian.org/debian";
/** Packages of Node's image besides Node. */
const NPM = "npm@11.21.2";

/** Fills a directory with a small Debian. */
export function fillBase(root: string): void {
  execFileSync("debootstrap", ["--variant=minbase", "bookworm", root, MIRROR], {
    stdio: ["ignore", "ignore", "inherit"],
  });
  rmSync(join(root, "var/cache/apt/archives"), { recursive: true });
}

/**
 * Adds Node and npm to a Debian.
 * @param directory where npm's archive goes
 * @returns variables that the image needs
 */
export function fillNode(root: string, directory: string): Record<string, string> {
  const local = join(root, "usr/local");
  const node = dirname(createRequire(import.meta.url).resolve("node/package.json"));
  copyFileSync(join(node, "bin/node"), join(local, "bin/node"));
  chmodSync(join(local, "bin/node"), 0o755);
  const npm = join(local, "lib/node_modules/npm");
  mkdirSync(npm, { recursive: true });
  const archive = execFileSync("npm", ["pack", NPM, "--silent", "--pack-destination", directory], {
    encoding: "utf8",
  }).trim();
  execFileSync("tar", ["-xzf", join(directory, archive), "-C", npm, "--strip-components=1"]);
  symlinkSync("../lib/node_modules/npm/bin/npm-cli.js", join(local, "bin/npm"));
  // Behind a proxy that intercepts TLS, npm must trust the certificates of this machine.
  const { NODE_EXTRA_CA_CERTS } = process.env;
  if (!NODE_EXTRA_CA_CERTS) return {};
  const path = "/etc/extra-certificates.pem";
  copyFileSync(NODE_EXTRA_CA_CERTS, join(root, path));
  return { NODE_EXTRA_CA_CERTS: path };
}

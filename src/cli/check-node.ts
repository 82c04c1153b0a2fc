import { EXIT } from "../exit/exit-status.ts";

/** As `engines` in package.json, which npm only warns about. */
const NEEDED = [22, 13] as const;

const [major = 0, minor = 0] = process.versions.node.split(".").map(Number);
if (major < NEEDED[0] || (major === NEEDED[0] && minor < NEEDED[1])) {
  process.stderr.write(
    `tilewright: Node ${process.versions.node} is too old, Tilewright needs ${NEEDED.join(".")} or newer: install it from https://nodejs.org\n`,
  );
  process.exit(EXIT.usage);
}

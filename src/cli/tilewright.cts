#!/usr/bin/env -S MALLOC_MMAP_THRESHOLD_=1048576 node --max-semi-space-size=8
// The command that npm links. It checks the version of Node before any file is loaded that an older Node cannot read, and
// so uses nothing newer than ECMAScript 5. `needed` is that of `engines` in package.json, which npm only warns about.
var needed = [22, 13];
var found = process.versions.node.split(".").map(Number);
if (found[0]! < needed[0]! || (found[0] === needed[0] && found[1]! < needed[1]!)) {
  process.stderr.write(
    "tilewright: Node " +
      process.versions.node +
      " is too old, Tilewright needs " +
      needed.join(".") +
      " or newer: install it from https://nodejs.org\n",
  );
  process.exitCode = 2;
} else {
  import("./main.js");
}

import { type ChildProcessWithoutNullStreams, spawn } from "node:child_process";
import { once } from "node:events";
import type { Image } from "./build-image.ts";

/** A container like `docker run --read-only --tmpfs /tmp --cap-drop ALL --security-opt no-new-privileges`. */
const ENTER = `
set -e
mount --bind "$ROOT" "$ROOT"
mount -o remount,bind,ro "$ROOT"
mount -t tmpfs tmpfs "$ROOT/tmp"
[ -z "$VOLUME" ] || mount -t tmpfs -o mode=1777 tmpfs "$ROOT$VOLUME"
mount -t proc proc "$ROOT/proc"
mount --rbind /dev "$ROOT/dev"
exec chroot "$ROOT" setpriv --reuid="$ID" --regid="$ID" --clear-groups --no-new-privs --bounding-set=-all \\
  env --ignore-environment --chdir="$DIRECTORY" "$@"
`;

export interface Process {
  child: ChildProcessWithoutNullStreams;
  /** Its output so far, both streams. */
  output(): string;
  /** Its exit code, or the name of the signal that ended it. */
  ended: Promise<number | string>;
}

/** Starts a program in the image, on the network of this machine; signals to `child` reach the program. */
export function startIn(
  image: Image,
  command: readonly string[],
  {
    env = {},
    user = image.user,
    volume = "",
  }: {
    env?: Record<string, string>;
    user?: string /** Where the program may write, beside /tmp. */;
    volume?: string;
  } = {},
): Process {
  const variables = Object.entries({ ...image.env, ...env }).map(([name, value]) => `${name}=${value}`);
  const child = spawn(
    "unshare",
    ["--mount", "--propagation", "private", "sh", "-c", ENTER, "sh", ...variables, ...command],
    {
      env: {
        PATH: process.env.PATH,
        ROOT: image.root,
        ID: user.split(":")[0],
        DIRECTORY: image.workingDirectory,
        VOLUME: volume,
      },
    },
  );
  let output = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding("utf8").on("data", (text: string) => {
      output += text;
    });
  }
  const ended = once(child, "close").then(([code, signal]) => code ?? signal);
  return { child, output: () => output, ended };
}

import { execFileSync } from "node:child_process";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { fillBase, fillNode } from "./base-image.ts";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));

export interface Image {
  /** Mounted files of the image; writes go to a copy. */
  root: string;
  entrypoint: readonly string[];
  healthcheck: readonly string[];
  env: Readonly<Record<string, string>>;
  user: string;
  workingDirectory: string;
  /** Unmounts, so that `directory` can be deleted. */
  release(): void;
}

/** A Dockerfile of the repository. */
export interface ImageFile {
  path: string;
  args: Readonly<Record<string, string>>;
}

/** The runner, for the CPU. */
export const RUNNER: ImageFile = {
  path: "gpu-runner/Dockerfile",
  args: { BASE: "localhost/base", ONNXRUNTIME_NODE_INSTALL: "skip" },
};
/** The service of one machine. */
export const SERVICE: ImageFile = { path: "infra/service/Dockerfile", args: {} };

/**
 * Builds an image like the guide, on a Debian of debootstrap instead of base images from Docker's
 * registry. Needs root; writes only below `directory`.
 * @throws the output of the first tool that fails
 */
export function buildImage(directory: string, file: ImageFile): Image {
  mkdirSync(directory, { recursive: true });
  const storage = ["--root", join(directory, "storage"), "--runroot", join(directory, "run")];
  // "vfs" copies every layer; it works without overlays, for example in a container.
  storage.push("--storage-driver", process.env.STORAGE_DRIVER ?? "overlay");
  const buildah = (...args: string[]) =>
    execFileSync("buildah", [...storage, ...args], {
      cwd: ROOT,
      encoding: "utf8",
      stdio: ["ignore", "pipe", "inherit"],
      maxBuffer: 1 << 28,
      env: { ...process.env, BUILDAH_ISOLATION: "chroot", BUILDAH_FORMAT: "docker" },
    }).trim();
  /** Creates an image from another and the files of `fill`. */
  const make = (from: string, name: string, fill: (root: string) => string[]) => {
    const container = buildah("from", from);
    const root = buildah("mount", container);
    const config = fill(root);
    if (config.length > 0) buildah("config", ...config, container);
    buildah("umount", container);
    buildah("commit", "--quiet", "--rm", container, name);
  };

  make("scratch", "localhost/base", (root) => {
    fillBase(root);
    return [];
  });
  make("localhost/base", "localhost/node", (root) =>
    Object.entries(fillNode(root, directory)).flatMap(([name, value]) => ["--env", `${name}=${value}`]),
  );

  const args = { ...file.args, NODE: "localhost/node" };
  const built = buildah(
    "build",
    "--quiet",
    ...["--layers=false", "--network=host", "--file", file.path],
    ...["--ignorefile", `${file.path}.dockerignore`],
    ...Object.entries(args).flatMap(([name, value]) => ["--build-arg", `${name}=${value}`]),
    ".",
  ).split("\n");
  const image = built.at(-1)!;
  const { config } = JSON.parse(buildah("inspect", "--type", "image", image)).Docker;
  const container = buildah("from", image);
  return {
    root: buildah("mount", container),
    entrypoint: config.Entrypoint,
    // ["CMD", ...]: without a shell.
    healthcheck: config.Healthcheck.Test.slice(1),
    env: Object.fromEntries(config.Env.map((line: string) => line.split(/=(.*)/s).slice(0, 2))),
    user: config.User,
    workingDirectory: config.WorkingDir || "/",
    release: () => void buildah("umount", "--all"),
  };
}

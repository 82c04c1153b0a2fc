import { createHmac } from "node:crypto";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { ROOT } from "../../infra/cloudflare/worker-config.ts";
import { parseTokens } from "../../src/edge/jobs/auth/tokens.ts";
import { parseWebhookSecrets, WEBHOOK_KINDS } from "../../src/edge/jobs/events/webhook-secrets.ts";
import { estimateCost } from "../../src/edge/jobs/lifecycle/estimate-cost.ts";
import { parseRules } from "../../src/edge/jobs/triggers/rules.ts";
import { parseSourceSettings } from "../../src/edge/sources/source-settings.ts";
import { edgeShardBlock } from "../../src/orchestrator/map/edge-shards.ts";
import { planWindowGrid, windowCount } from "../../src/tiling/grid/window-grid.ts";
import { refusal, wranglerHelp } from "./wrangler-help.ts";

let guide: string;
beforeAll(async () => {
  guide = await readFile(join(ROOT, "docs/deploy.md"), "utf8");
});

/** The code block with this marker. */
function block(mark: string): string {
  const found = guide.split(`\n\`\`\`${mark}\n`)[1]?.split("\n```\n")[0];
  if (found === undefined) throw new Error(`the guide has no block ${mark}`);
  return found;
}

describe("docs/deploy.md", () => {
  it.each(["src/edge/jobs/context/bindings.ts", "src/edge/segment/settings.ts"])(
    "names every binding of %s",
    async (file) => {
      const text = await readFile(join(ROOT, file), "utf8");
      const names = [...text.matchAll(/^ {2}([A-Z][A-Z0-9_]+)\?:/gm)].map(([, name]) => name!);
      expect(names.length).toBeGreaterThan(8);
      const tables = guide.split("\n").filter((line) => line.startsWith("| `"));
      for (const name of names)
        expect(
          tables.some((line) => line.includes(`\`${name}\``)),
          name,
        ).toBe(true);
    },
  );

  it("has examples that the Workers accept", () => {
    expect(
      parseRules({ RULES: block("json RULES"), RESULTS_BUCKET: "tilewright-results" }).list,
    ).toHaveLength(2);
    expect(parseTokens({ TOKENS: block("json TOKENS") }).map(({ name }) => name)).toEqual([
      "scanner",
      "viewer",
      "pathologist",
      "operator",
    ]);
    const WEBHOOKS = block("json WEBHOOKS");
    for (const kind of WEBHOOK_KINDS) expect(parseWebhookSecrets({ WEBHOOKS }, kind)).toBeDefined();
    const SOURCE_KEYS = block("json SOURCE_KEYS").replaceAll("…", "hush");
    const { buckets, hosts } = parseSourceSettings({ SOURCES: block("json SOURCES"), SOURCE_KEYS });
    expect([...buckets.values()].every(({ keys }) => keys !== undefined)).toBe(true);
    expect(hosts).toHaveLength(1);
  });

  it("shows how a callback is verified", async () => {
    const directory = await mkdtemp(join(tmpdir(), "tilewright-guide-"));
    afterAll(() => rm(directory, { recursive: true }));
    const file = join(directory, "callback.mjs");
    await writeFile(file, block("js callback"));
    const { isFromTilewright } = await import(file);
    const body = '{"state":"done","é":1}';
    const sign = (seconds: number, key = "secret") =>
      `t=${seconds},v1=${createHmac("sha256", key).update(`${seconds}.${body}`).digest("hex")}`;
    expect(isFromTilewright(body, sign(1000), "secret", 1010)).toBe(true);
    expect(isFromTilewright(Buffer.from(body), sign(1000), "secret", 1010)).toBe(true);
    expect(isFromTilewright(`${body} `, sign(1000), "secret", 1010)).toBe(false);
    expect(isFromTilewright(body, sign(1000, "other"), "secret", 1010)).toBe(false);
    expect(isFromTilewright(body, sign(1000), "secret", 2000)).toBe(false);
    expect(isFromTilewright(body, undefined, "secret", 1010)).toBe(false);
  });

  it("computes the signature of the example like the service", () => {
    const grid = planWindowGrid({ shape: [30_000, 40_000], window: [224, 224] });
    expect(Math.round(windowCount(grid) * 0.4)).toBe(17_041);
    expect(edgeShardBlock({ window: [224, 224], channels: 3 }, 3, "u8")).toEqual([4, 8]);
    const job = { windows: 17_041, tasks: 660, shards: 582, merges: 76, chunks: 520 };
    const rows = [...guide.matchAll(/^\| (\d+) ms[^|]*\| [\d.]+ \| [\d.]+ \| \*\*([\d.]+) USD\*\* \|$/gm)];
    expect(rows).toHaveLength(4);
    for (const [, ms, amount] of rows) {
      expect(estimateCost({ CPU_MS_PER_WINDOW: ms }, job)!.amount.toFixed(2)).toBe(amount);
    }
  });

  it("has valid links", async () => {
    const links = [...guide.matchAll(/\]\(([^)#\s]*)#?([^)]*)\)/g)];
    expect(links.length).toBeGreaterThan(5);
    for (const [, path = "", anchor] of links) {
      const text = path === "" ? guide : await readFile(join(ROOT, "docs", path), "utf8");
      const anchors = [...text.matchAll(/^#+ (.+)$/gm)].map(([, title]) =>
        title!
          .toLowerCase()
          .replace(/[^\w\- ]/g, "")
          .replaceAll(" ", "-"),
      );
      if (anchor) expect(anchors, `${path}#${anchor}`).toContain(anchor);
    }
  });

  it("has commands that the installed wrangler accepts", { timeout: 300_000 }, async () => {
    const commands = new Set(
      [...guide.matchAll(/npx wrangler ([^\n`#]+)/g)].map(([, words]) =>
        words!.trim().replaceAll(/<[^>]+>/g, "x"),
      ),
    );
    expect(commands.size).toBeGreaterThan(8);
    for (const command of commands) {
      const words = command.split(/\s+/);
      const flag = words.findIndex((word) => word.startsWith("-"));
      const help = await wranglerHelp(words.slice(0, flag === -1 ? undefined : flag));
      expect(help, command).toBeDefined();
      expect(refusal(help!, words.slice(help!.command.length)), command).toBeUndefined();
    }
  });
});

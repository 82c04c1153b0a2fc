import { Hono } from "hono";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { type AccessEnv, requireAccess, requireScope } from "../../../src/edge/jobs/auth/require-scope.ts";
import { SCOPES, type Scope } from "../../../src/edge/jobs/auth/tokens.ts";
import { toHttpError } from "../../../src/service/http-error.ts";

const SUBMIT = "submit-0123456789abcdef";
const READ = "read-0123456789abcdef";
const SOURCE = "source-0123456789abcdef";
const WORK = "work-0123456789abcdef";
const ADMIN = "admin-0123456789abcdef";
const TOKENS = JSON.stringify([
  { name: "scanner", token: SUBMIT, scopes: ["submit"] },
  { name: "viewer", token: READ, scopes: ["read"] },
  { name: "reader", token: SOURCE, scopes: ["source"] },
  { name: "runner", token: WORK, scopes: ["work"] },
  { name: "operator", token: ADMIN, scopes: ["admin"] },
]);

const app = new Hono<AccessEnv>();
for (const scope of SCOPES) app.get(`/${scope}`, requireScope(scope), (c) => c.text(c.get("caller")));
app.use("/jobs/*", requireAccess());
app.all("/jobs", (c) => c.text(c.get("caller")));
app.all("/jobs/:id", (c) => c.text(c.get("caller")));
app.onError((error, c) => {
  const { status, code, message, headers } = toHttpError(error);
  return c.json({ error: { code, message } }, status, headers);
});

let logged: string;
beforeEach(() => {
  logged = "";
  vi.spyOn(console, "error").mockImplementation((...args) => {
    logged += args.join(" ");
  });
});
afterEach(() => void vi.restoreAllMocks());

async function ask(scope: Scope, authorization?: string, env: { TOKENS?: string } = { TOKENS }, query = "") {
  const headers: Record<string, string> = authorization === undefined ? {} : { Authorization: authorization };
  const response = await app.request(`/${scope}${query}`, { headers }, env);
  const text = await response.text();
  return { status: response.status, text, headers: response.headers };
}

describe("a token gives access to the routes of its scopes", () => {
  test.each([
    [SUBMIT, "scanner", ["submit"]],
    [READ, "viewer", ["read"]],
    [SOURCE, "reader", ["source"]],
    [WORK, "runner", ["work"]],
    [ADMIN, "operator", ["submit", "read", "source", "work", "admin"]],
  ])("%s", async (token, name, scopes) => {
    for (const scope of SCOPES) {
      const answer = await ask(scope, `Bearer ${token}`);
      if (scopes.includes(scope)) expect(answer).toMatchObject({ status: 200, text: name });
      else {
        expect(answer.status).toBe(403);
        expect(answer.headers.get("WWW-Authenticate")).toContain(`scope="${scope}"`);
        expect(JSON.parse(answer.text).error.code).toBe("forbidden");
      }
    }
  });
});

test.each(["/jobs", "/jobs/1"])("below %s GET needs read, other methods submit", async (path) => {
  const statusOf = async (method: string, token?: string) => {
    const headers = { Authorization: `Bearer ${token}` };
    return (await app.request(path, { method, headers }, { TOKENS })).status;
  };
  for (const method of ["GET", "HEAD", "POST", "DELETE", "PUT", "PATCH", "OPTIONS"]) {
    const isLook = method === "GET" || method === "HEAD";
    expect(await statusOf(method, READ)).toBe(isLook ? 200 : 403);
    expect(await statusOf(method, SUBMIT)).toBe(isLook ? 403 : 200);
    expect(await statusOf(method, ADMIN)).toBe(200);
    expect(await statusOf(method)).toBe(401);
  }
});

test.each([
  undefined,
  "",
  "Bearer",
  "Bearer ",
  SUBMIT,
  `Basic ${SUBMIT}`,
  `Bearer ${SUBMIT}x`,
  `Bearer ${SUBMIT.slice(0, -1)}`,
  `Bearer ${SUBMIT.toUpperCase()}`,
  `Bearer ${SUBMIT} ${READ}`,
])("%s gives no access", async (authorization) => {
  const answer = await ask("submit", authorization);
  expect(answer.status).toBe(401);
  expect(answer.headers.get("WWW-Authenticate")).toBe("Bearer");
});

test.each(["token", "access_token", "authorization"])("ignores a token in ?%s=", async (name) => {
  expect((await ask("submit", undefined, { TOKENS }, `?${name}=${SUBMIT}`)).status).toBe(401);
});

describe("a Worker without valid TOKENS gives no access", () => {
  const secret = "secret-0123456789abcdef";
  const good = { name: "a", token: secret, scopes: ["submit"] };
  test.each([
    undefined,
    "",
    "[]",
    "{}",
    `not JSON ${secret}`,
    JSON.stringify([{ ...good, token: secret.slice(0, 15) }]),
    JSON.stringify([{ ...good, token: `${secret} with a blank` }]),
    JSON.stringify([{ ...good, scopes: [] }]),
    JSON.stringify([{ ...good, scopes: ["submit", secret] }]),
    JSON.stringify([{ ...good, [secret]: true }]),
    JSON.stringify([good, { ...good, name: "b" }]),
    JSON.stringify([good, { ...good, token: `${secret}2` }]),
  ])("%s", async (TOKENS) => {
    const answer = await ask("submit", `Bearer ${secret}`, { TOKENS });
    expect(answer.status).toBe(503);
    expect(JSON.parse(answer.text).error.code).toBe("not_configured");
    expect(answer.text + logged).not.toContain(secret.slice(0, 15));
  });
});

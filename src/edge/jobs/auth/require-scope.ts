import type { MiddlewareHandler } from "hono";
import { parseBearer, unauthorized } from "../../../service/bearer.ts";
import { HttpError } from "../../../service/http-error.ts";
import type { Bindings } from "../context/bindings.ts";
import { allows, findToken, parseTokens, type Scope } from "./tokens.ts";

/** What routes behind `requireScope` find in their context. */
export interface AccessEnv {
  Bindings: Pick<Bindings, "TOKENS">;
  Variables: {
    /** Name of the token, for logs; never the token. */
    caller: string;
  };
}

/**
 * Lets requests pass whose bearer token has the scope. The header is the only place a token is looked for: addresses end
 * up in logs and histories. A browser follows progress with `fetch`, which can set it, and not with `EventSource`.
 * @throws {HttpError} 401 without a known token, 403 without the scope, 503 while none is configured
 */
export function requireScope(scope: Scope): MiddlewareHandler<AccessEnv> {
  return requireScopeFor(() => scope);
}

/** For all routes below a path, also those that are added later: looking needs `read`, everything else `submit`. */
export function requireAccess(): MiddlewareHandler<AccessEnv> {
  return requireScopeFor((method) => (method === "GET" || method === "HEAD" ? "read" : "submit"));
}

function requireScopeFor(scopeOf: (method: string) => Scope): MiddlewareHandler<AccessEnv> {
  return async (c, next) => {
    const scope = scopeOf(c.req.method);
    const token = await findToken(parseTokens(c.env), parseBearer(c.req.header("Authorization")));
    if (!token) throw unauthorized();
    if (!allows(token, scope)) {
      throw new HttpError(403, "forbidden", `the token ${token.name} lacks the scope ${scope}`, {
        "WWW-Authenticate": `Bearer error="insufficient_scope", scope="${scope}"`,
      });
    }
    c.set("caller", token.name);
    await next();
  };
}

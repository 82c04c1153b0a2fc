import { useState } from "preact/hooks";
import { ServiceError } from "../../../src/client/errors.ts";
import { JobClient } from "../../../src/client/job-client.ts";
import { keepToken } from "../data/session.ts";

/** Asks for the token of the service. It is kept for this tab only. */
export function SignIn({ onToken }: { onToken: (token: string) => void }) {
  const [token, setToken] = useState("");
  const [problem, setProblem] = useState<string>();
  const [isBusy, setBusy] = useState(false);
  const submit = async () => {
    setBusy(true);
    setProblem(undefined);
    try {
      await new JobClient(location.origin, { token }).jobs({ limit: 1 });
      keepToken(token);
      onToken(token);
    } catch (error) {
      const isWrong = error instanceof ServiceError && (error.status === 401 || error.status === 403);
      setProblem(isWrong ? "The service does not accept this token; check it." : (error as Error).message);
    }
    setBusy(false);
  };
  return (
    <main class="plain here">
      <h1>Tilewright</h1>
      <form
        class="settings"
        onSubmit={(event) => {
          event.preventDefault();
          void submit();
        }}
      >
        <p>Enter a token of this service. The tab keeps it until it is closed.</p>
        <label class="row">
          <span>Token</span>
          <input
            type="password"
            autocomplete="off"
            required
            value={token}
            onInput={(event) => setToken(event.currentTarget.value.trim())}
          />
        </label>
        <div class="row">
          <button type="submit" disabled={isBusy}>
            Sign in
          </button>
        </div>
      </form>
      {problem && (
        <p role="alert" class="problem">
          {problem}
        </p>
      )}
    </main>
  );
}

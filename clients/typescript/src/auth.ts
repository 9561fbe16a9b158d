import type { Api } from "./generated/api.js";
import { isProblem } from "./problem.js";
import { either } from "./session.js";
import type { Transport } from "./transport.js";
import type { Body, CallOptions, CodeSent, CommandOptions, Request, Schemas, SignedIn, SignedUp } from "./types.js";

type Answers = Schemas["TokenPair"] | Schemas["CookieSession"] | Schemas["CodeSent"];
type Step = "auth.login" | "auth.reauthenticate" | "auth.verifyCode";

/** Signing in and out. */
export function authentication(transport: Transport, api: Api) {
  const { session } = transport;

  /** One step of a sign-in. With `same`, which ends with the session, that session goes on with other tokens. */
  async function signedIn(step: Step, request: Request, same?: AbortSignal): Promise<SignedIn | CodeSent> {
    // Cookies change with the answer: whoever is signed in by them is signed out before, in all tabs.
    if (!same && session.kind === "cookie" && session.current().signedIn) await signedOut("auth.logout");
    const signal = either(same, request.signal);
    const answer = (await transport.call(step, { ...request, signal })).body as Answers;
    if (answer.two_step) {
      const { challenge, expires_in } = answer;
      return {
        kind: "code",
        expiresIn: expires_in,
        answer: async (code, options) =>
          (await signedIn("auth.verifyCode", { body: { challenge, code }, ...options }, same)) as SignedIn,
        resend: async (options) => void (await transport.call("auth.resendCode", { body: { challenge }, ...options })),
      };
    }
    if (same) session.renew(answer);
    else session.begin(true, answer);
    return { kind: "signed-in", twoStepMissing: answer.two_step_missing ?? false };
  }

  async function signedOut(id: "auth.logout" | "auth.logoutAll", options?: CallOptions): Promise<void> {
    await transport.call(id, options).catch((error: unknown) => {
      if (!isProblem(error, "invalid_token")) throw error; // it had ended before
    });
    session.begin(false);
  }

  return {
    /** Register. The result is the account, or, where the address is verified first, word of the mail. */
    signUp: async (user: Body<"users.create">, options?: CommandOptions): Promise<SignedUp> => {
      const made = await api.users.create(user, options);
      return "command" in made ? { kind: "mailed" } : { kind: "created", user: made };
    },
    /** Sign in. An account with two-step sign-in gets a code by mail, which `answer` of the result takes. */
    signIn: (credentials: Body<"auth.login">, options?: CallOptions) => signedIn("auth.login", { body: credentials, ...options }),
    /** The password again, for what needs a sign-in of the last 10 minutes. */
    reauthenticate: (password: string, options?: CallOptions) =>
      signedIn("auth.reauthenticate", { body: { password }, ...options }, session.bound()),
    signOut: (options?: CallOptions) => signedOut("auth.logout", options),
    signOutEverywhere: (options?: CallOptions) => signedOut("auth.logoutAll", options),
    /** Whether somebody signed in here; the session may have ended since. */
    isSignedIn: () => session.current().signedIn,
    /** Names the time from one sign-in or sign-out to the next: key by it what must not reach the next user. */
    epoch: () => session.epoch,
    /** Calls the listener whenever somebody signs in or out, in any tab. The result ends that. */
    onChange: (listener: () => void) => session.subscribe(listener),
  };
}

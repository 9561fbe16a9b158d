import type { Api } from "./generated/api.js";
import { isProblem } from "./problem.js";
import type { Transport } from "./transport.js";
import type { Body, CallOptions, CodeSent, CommandOptions, Request, Schemas, SessionKind, SignedIn, SignedUp } from "./types.js";

type Answers = Schemas["TokenPair"] | Schemas["CodeSent"];

/** Signing in and out. */
export function authentication(transport: Transport, api: Api, kind: SessionKind) {
  const { session } = transport;

  /** Cookies change with the answer: whoever is signed in by them is signed out before, in all tabs. */
  async function signedIn(id: "auth.login" | "auth.verifyCode", request: Request): Promise<SignedIn | CodeSent> {
    if (kind === "cookie" && session.current().signedIn) await signedOut("auth.logout");
    return settled((await transport.call(id, request)).body as Answers, signedIn, (tokens) => session.begin(true, tokens));
  }

  /** The same session goes on with other tokens. */
  async function renewed(id: "auth.reauthenticate" | "auth.verifyCode", request: Request): Promise<SignedIn | CodeSent> {
    const signal = transport.bound(request.signal);
    const answer = (await transport.call(id, { ...request, signal })).body as Answers;
    return settled(answer, (next, given) => renewed(next, { ...given, signal }), (tokens) => session.renew(tokens));
  }

  function settled(
    answer: Answers,
    next: (id: "auth.verifyCode", request: Request) => Promise<SignedIn | CodeSent>,
    keep: (tokens: Schemas["TokenPair"]) => void,
  ): SignedIn | CodeSent {
    if (!("challenge" in answer)) {
      keep(answer);
      return { kind: "signed-in", twoStepMissing: answer.two_step_missing ?? false };
    }
    const { challenge, expires_in } = answer;
    return {
      kind: "code",
      expiresIn: expires_in,
      answer: async (code, options) => (await next("auth.verifyCode", { body: { challenge, code }, ...options })) as SignedIn,
      resend: async (options) => void (await transport.call("auth.resendCode", { body: { challenge }, ...options })),
    };
  }

  async function signedOut(id: "auth.logout" | "auth.logoutAll", options?: CallOptions): Promise<void> {
    try {
      await transport.call(id, options);
    } catch (error) {
      if (!isProblem(error, "invalid_token")) throw error; // it had ended before
    }
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
      renewed("auth.reauthenticate", { body: { password }, ...options }),
    signOut: (options?: CallOptions) => signedOut("auth.logout", options),
    signOutEverywhere: (options?: CallOptions) => signedOut("auth.logoutAll", options),
    /** Whether somebody signed in here; the session may have ended since. */
    isSignedIn: () => session.current().signedIn,
    /** Calls the listener whenever somebody signs in or out, in any tab. The result ends that. */
    onChange: (listener: () => void) => session.subscribe(listener),
  };
}

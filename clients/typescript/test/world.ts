import { readdirSync, readFileSync } from "node:fs";
import { inject } from "vitest";
import { type Client, type ClientOptions, createClient } from "../src/index.js";

export const backend = inject("backend");
export const PASSWORD = "correct horse battery";
let people = 0;

/** What was sent, such as "POST /api/v1/products 202". */
export function recording(): { sent: string[]; fetch: typeof fetch } {
  const sent: string[] = [];
  return {
    sent,
    fetch: async (url, init) => {
      const response = await fetch(url, init);
      sent.push(`${init?.method} ${new URL(String(url)).pathname} ${response.status}`);
      return response;
    },
  };
}

export const refreshes = (sent: string[]) => sent.filter((one) => one.includes("/auth/refresh"));
export const refusal = (error: unknown) => error;

export function client(options: Partial<ClientOptions> = {}): Client {
  return createClient({ baseUrl: backend.url, session: "memory", ...options });
}

export async function administrator(options: Partial<ClientOptions> = {}): Promise<Client> {
  const api = client(options);
  await api.auth.signIn({ email: backend.email, password: backend.password });
  return api;
}

/** A new account, signed in. */
export async function somebody(options: Partial<ClientOptions> = {}): Promise<{ api: Client; email: string; id: string }> {
  const email = `person${process.pid}.${++people}@example.com`;
  const api = client(options);
  const made = await api.auth.signUp({ email, password: PASSWORD, name: `Person ${people}` });
  await api.auth.signIn({ email, password: PASSWORD });
  return { api, email, id: made.kind === "created" ? made.user.id : "" };
}

/** Ends the access tokens of an account, and no session: the next request has to refresh. */
export async function endTokens(id: string): Promise<void> {
  await (await administrator()).users.roles(id, { roles: ["admin"] });
}

/** Stops or starts a part of the program: "stop api", "start api", "broker away" …; done when it resolves. */
export async function order(what: string): Promise<void> {
  await fetch(`${backend.switch}/${encodeURIComponent(what)}`);
}

/** The mails to an address. */
export function mailsTo(email: string): string[] {
  const mails = readdirSync(backend.mail).map((name) => readFileSync(`${backend.mail}/${name}`, "utf8"));
  return mails.filter((mail) => mail.includes(`To: ${email}`));
}

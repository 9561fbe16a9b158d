import { createClient, type SessionKind } from "promise-backend-client";

const KEY = "session kind";
export const sessionKinds = ["cookie", "local", "memory"] as const satisfies SessionKind[];
export const sessionKind = sessionKinds.find((kind) => kind === localStorage.getItem(KEY)) ?? "cookie";

export const api = createClient({
  baseUrl: import.meta.env["VITE_API_URL"] ?? "http://127.0.0.1:8000",
  session: sessionKind,
});

/** An application would decide for one kind. */
export function chooseSessionKind(kind: string): void {
  localStorage.setItem(KEY, kind);
  location.assign("/sign-in");
}

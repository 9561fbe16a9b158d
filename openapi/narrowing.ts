// Compiles if generated types tell the answers of one operation apart, without a cast.
import type { UsersCreateResponse, AuthLoginResponse } from "../var/openapi/hey-api";
import type { authLoginResponse, usersCreateResponse } from "../var/openapi/orval";
import type { components, operations } from "../var/openapi/schema";

type Answers<K extends keyof operations, S extends number> = operations[K]["responses"] extends infer R
  ? R extends { [status in S]: { content: { "application/json": infer B } } }
    ? B
    : never
  : never;
type SignIn = Answers<"auth.login", 200>;
type Creation = Answers<"users.create", 201> | Answers<"users.create", 202>;

/** A challenge, tokens, or a session in cookies. */
export function signedIn(answer: SignIn | AuthLoginResponse): string {
  if (answer.two_step) return answer.challenge;
  return "token_type" in answer ? answer.access_token : `for ${answer.expires_in} s`;
}

/** The account, or an operation. */
export function created(answer: Creation | UsersCreateResponse): string {
  return "command" in answer ? answer.status : answer.email;
}

/** Orval's answers have their status; it takes a constant that is true or false for any boolean. */
export function withStatus(signIn: authLoginResponse, creation: usersCreateResponse): unknown {
  if (signIn.status === 200 && "challenge" in signIn.data) return signIn.data.challenge;
  if (creation.status === 201) return creation.data.email;
  return creation.status === 202 ? creation.data.command : creation.data.code;
}

/** Why a row of an import was refused. */
export function refused({ failures }: components["schemas"]["Progress"]): string[] {
  return failures.map(({ line, problem }) => `${line}: ${problem.detail}`);
}

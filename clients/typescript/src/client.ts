import { authentication } from "./auth.js";
import { Commands } from "./commands.js";
import type { Api } from "./generated/api.js";
import { routes } from "./generated/routes.js";
import { type Page, Pages } from "./pages.js";
import { isProblem } from "./problem.js";
import { either } from "./session.js";
import { routeOf, Transport } from "./transport.js";
import type { Answer, Answered, ClientOptions, Handle, ImportOptions, Operation } from "./types.js";
import type { OperationId, Request, RequestOf, Resource, UpdateOptions } from "./types.js";

/** The operations of the API by their names, and the session. */
export interface Client extends Omit<Api, "auth" | "operations"> {
  auth: Api["auth"] & ReturnType<typeof authentication>;
  operations: Api["operations"] & {
    /** The handle of a command that was started earlier, also by an earlier page. */
    resume(id: string): Handle<Operation>;
  };
  /** Any operation of the document, as it is. */
  request<K extends OperationId>(id: K, request?: RequestOf<K>): Promise<Answered<K>>;
  /** Stop listening to the other tabs. */
  close(): void;
}

/** A client of the API. One is enough for a page. */
export function createClient(options: ClientOptions): Client {
  const transport = new Transport(options);
  const commands = new Commands(transport);
  const tree: Record<string, any> = {};
  for (const id of Object.keys(routes) as OperationId[]) {
    const names = id.split(".");
    if (names.at(-1) === "get" && routeOf(id).parameters.length === 0) names.pop(); // `users.me()`
    const last = names.pop() as string;
    const parent = names.reduce((node, name) => (node[name] ??= {}), tree);
    parent[last] = Object.assign(method(commands, id), parent[last]);
  }
  Object.assign(tree["auth"], authentication(transport, tree as unknown as Api));
  Object.assign(tree["operations"], { resume: (id: string) => commands.resume(id) });
  return Object.assign(tree, {
    request: async (id: OperationId, request?: Request) => (await transport.call(id, request)).body,
    close: () => transport.session.close(),
  }) as unknown as Client;
}

/** The method of an operation: its arguments are what is in the path, then body, query or file, then options. */
function method(commands: Commands, id: OperationId) {
  const { transport } = commands;
  const { marks, parameters } = routeOf(id);
  const content = ["body", "query", "file"].find((one) => marks.includes(one));
  const update = marks.find((mark) => mark.startsWith("update:"))?.slice("update:".length) as OperationId | undefined;
  const request = (...args: any[]): Request => {
    const path = Object.fromEntries(parameters.map((name, at) => [name, args[at]]));
    const [given, options] = content ? args.slice(parameters.length) : [undefined, args[parameters.length]];
    const call: Request = { ...options, path, ...(content && { [content]: given }) };
    return call.file ? { ...call, file: withMediaType(call.file, options) } : call;
  };
  const result = (answer: Answer, { path }: Request) => (update ? resource(commands, update, answer, path) : answer.body);

  if (marks.includes("command")) {
    const open = id === "users.me.delete"; // ends the session that could ask for its outcome
    return commands.define(id, (...args: any[]) => ({ ...request(...args), open }), (answer, asked) => {
      if (open) transport.session.begin(false);
      return result(answer, asked);
    });
  }
  if (marks.includes("page")) {
    return (...args: any[]) => {
      const asked = request(...args);
      const signal = transport.session.bound(asked.signal);
      const page = (cursor?: string) => transport.call(id, { ...asked, signal, query: { ...asked.query, cursor } });
      return new Pages(async (cursor) => (await page(cursor)).body as Page<unknown>);
    };
  }
  return async (...args: any[]) => {
    const asked = request(...args);
    return result(await transport.call(id, asked), asked);
  };
}

/** A version of a resource. `given` is what the path to it is known to have. */
function resource<U extends OperationId>(commands: Commands, id: U, answer: Answer, given: object = {}): Resource<U> {
  const { transport } = commands;
  const data = answer.body as Answered<U>;
  const known: Record<string, unknown> = { ...given };
  const path = Object.fromEntries(routeOf(id).parameters.map((name) => [name, known[name] ?? (data as { id: string }).id]));
  const etag = answer.headers.get("ETag") ?? "";
  const of = (other: Answer) => resource(commands, id, other, path);
  const send = commands.define(id, (request: Request & { etag: string }) => ({ ...request, path }), of);
  const whose = transport.session.bound();
  const update: Resource<U>["update"] = async (changes, { onConflict, ...options }: UpdateOptions<U> = {}) => {
    const signal = either(whose, options.signal);
    for (let [mine, version] = [changes, etag]; ; ) {
      try {
        return await send({ body: mine, etag: version, signal });
      } catch (error) {
        if (!onConflict || !isProblem(error, "stale_version")) throw error;
        const theirs = of(await transport.call(id.replace(/update$/, "get") as OperationId, { path, signal }));
        const merged = onConflict(mine, theirs.data);
        if (!merged) throw error;
        [mine, version] = [merged, theirs.etag];
      }
    }
  };
  return { data, etag, update };
}

/** The file under the media type that the API takes: what browsers say of it depends on the programs installed. */
function withMediaType(file: Blob, { format }: ImportOptions = {}): Blob {
  const lines = format ? format === "ndjson" : /\.(ndjson|jsonl)$/i.test((file as File).name ?? "");
  return new Blob([file], { type: lines ? "application/x-ndjson" : "text/csv" });
}

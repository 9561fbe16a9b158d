import { useCallback, useEffect, useState, useSyncExternalStore } from "react";
import type { Client } from "./client.js";
import type { Pages } from "./pages.js";
import { isProblem, SessionChanged } from "./problem.js";
import type { Handle, Operation } from "./types.js";

type Me = Awaited<ReturnType<Client["users"]["me"]>>;
type Seen = { operation?: Operation; progress?: Operation["progress"] };

/** What was asked for: not here yet, here, or an error. */
export interface Loaded<T> {
  readonly data: T | undefined;
  readonly error: unknown;
  readonly isLoading: boolean;
  readonly reload: () => void;
}

/**
 * Load when the component appears, when somebody signs in or out, when one of `inputs` changes, and on `reload`.
 * Nothing is shown of what was loaded for others, and a late answer is dropped.
 */
function useLoaded<T>(
  api: Client,
  load: (signal: AbortSignal, show: (data: T) => void) => Promise<T>,
  inputs: readonly unknown[],
): Loaded<T> {
  const epoch = useSyncExternalStore(api.auth.onChange, api.auth.epoch, api.auth.epoch);
  const [times, setTimes] = useState(0);
  const all = [times, api, epoch, ...inputs];
  const [state, set] = useState<{ of: readonly unknown[]; data?: T; error?: unknown; isDone?: boolean }>({ of: [] });
  useEffect(() => {
    const ended = new AbortController();
    const show = (news: { data: T } | { error: unknown }, isDone: boolean) =>
      ended.signal.aborted || set((now) => ({ ...(now.of === all && now), ...news, isDone, of: all }));
    load(ended.signal, (data) => show({ data }, false)).then(
      (data) => show({ data }, true),
      (error: unknown) => error instanceof SessionChanged || show({ error }, true),
    );
    return () => ended.abort();
  }, all);
  const [isCurrent, ...isMine] = all.map((one, at) => Object.is(one, state.of[at]));
  const { data, error, isDone } = isMine.every(Boolean) ? state : {};
  const reload = useCallback(() => setTimes((count) => count + 1), []);
  return { data, error, isLoading: !(isCurrent && isDone), reload };
}

/** Who is signed in: `data` is the profile with its `update`, or null for nobody. */
export function useUser(api: Client): Loaded<Me | null> {
  const load = (signal: AbortSignal) =>
    api.users.me({ signal }).catch((error: unknown) => {
      if (isProblem(error, "invalid_token")) return null;
      throw error;
    });
  return useLoaded<Me | null>(api, load, []);
}

/** The items of a listing so far. Give the same `inputs` that `list` uses: others begin anew. */
export function usePages<T>(api: Client, list: () => Pages<T>, inputs: readonly unknown[]) {
  const { data: first, error, isLoading, reload } = useLoaded(api, () => list().page(), [JSON.stringify(inputs)]);
  const begin = { first, items: first?.items ?? [], next: first?.next_cursor ?? null, error, isBusy: false };
  const [kept, keep] = useState(begin);
  const shown = kept.first === first ? { ...kept, error: error ?? kept.error } : begin;
  const { items, next, isBusy } = shown;
  const loadMore = async (): Promise<void> => {
    if (next === null || isBusy) return;
    const asked = { ...shown, error: undefined as unknown, isBusy: true };
    keep(asked);
    const more = await list().page(next).then(
      (page) => ({ items: [...items, ...page.items], next: page.next_cursor }),
      (reason: unknown) => ({ error: reason }),
    );
    keep((now) => (now === asked ? { ...asked, ...more, isBusy: false } : now));
  };
  return { items, error: shown.error, isLoading: isLoading || isBusy, hasMore: next !== null, loadMore, reload };
}

/** A command under way: its operation, its progress, and why it failed. Takes a handle, or the id of one. */
export function useOperation(api: Client, handle: Pick<Handle<unknown>, "id"> | string | undefined) {
  const id = typeof handle === "object" ? handle.id : handle;
  const follow = async (signal: AbortSignal, show: (seen: Seen) => void): Promise<Seen> => {
    if (id === undefined) return {};
    const operation = await api.operations.resume(id).wait({ signal, onProgress: (progress) => show({ progress }) });
    return { operation, progress: operation.progress };
  };
  const { data: { operation, progress } = {}, error } = useLoaded<Seen>(api, follow, [id]);
  const status = id === undefined ? "none" : error ? "failed" : operation ? "succeeded" : "pending";
  const cancel = async () => void (id !== undefined && (await api.operations.resume(id).cancel()));
  return { status, operation, progress, error, cancel } as const;
}

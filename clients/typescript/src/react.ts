import { useCallback, useEffect, useRef, useState } from "react";
import type { Client } from "./client.js";
import type { Handle, Operation } from "./types.js";
import type { Pages } from "./pages.js";
import { isProblem, SessionChanged } from "./problem.js";

type Me = Awaited<ReturnType<Client["users"]["me"]>>;

/** What was asked for: not here yet, here, or an error. */
export interface Loaded<T> {
  readonly data: T | undefined;
  readonly error: unknown;
  readonly isLoading: boolean;
  readonly reload: () => void;
}

/** Load when the component appears, when one of `inputs` changes, and on `reload`. A late answer is dropped. */
function useLoaded<T>(load: (signal: AbortSignal) => Promise<T>, inputs: readonly unknown[]): Loaded<T> {
  const [state, set] = useState<{ data?: T; error?: unknown; inputs?: readonly unknown[] }>({});
  const [times, setTimes] = useState(0);
  const all = [...inputs, times];
  useEffect(() => {
    const ended = new AbortController();
    load(ended.signal).then(
      (data) => ended.signal.aborted || set({ data, inputs: all }),
      (error: unknown) => ended.signal.aborted || error instanceof SessionChanged || set({ error, inputs: all }),
    );
    return () => ended.abort();
  }, all);
  const same = (some: readonly unknown[]) => inputs.every((one, at) => Object.is(one, some[at]));
  const mine = state.inputs !== undefined && same(state.inputs); // never what was loaded for others
  const isLoading = state.inputs?.[inputs.length] !== times || !mine;
  const reload = useCallback(() => setTimes((count) => count + 1), []);
  return { data: mine ? state.data : undefined, error: mine ? state.error : undefined, isLoading, reload };
}

/** A number that is another whenever somebody signs in or out, in any tab. */
function useEpoch(api: Client): number {
  const [epoch, set] = useState(0);
  useEffect(() => api.auth.onChange(() => set((count) => count + 1)), [api]);
  return epoch;
}

/** Who is signed in: `data` is the profile with its `update`, or null for nobody. */
export function useUser(api: Client): Loaded<Me | null> {
  const epoch = useEpoch(api);
  return useLoaded<Me | null>(
    (signal) =>
      api.users.me({ signal }).catch((error: unknown) => {
        if (isProblem(error, "invalid_token")) return null;
        throw error;
      }),
    [api, epoch],
  );
}

/** The items of a listing so far. Give the same `inputs` that `list` uses: others begin anew. */
export function usePages<T>(api: Client, list: () => Pages<T>, inputs: readonly unknown[]) {
  const epoch = useEpoch(api);
  const key = JSON.stringify([epoch, inputs]);
  const [more, setMore] = useState<{ key: string; items: readonly T[]; next: string | null; error?: unknown }>();
  const [isBusy, setBusy] = useState(false);
  const first = useLoaded(() => list().page(), [api, key]);
  const isMine = more?.key === key;
  const items = [...(first.data?.items ?? []), ...(isMine ? more.items : [])];
  const next = isMine ? more.next : (first.data?.next_cursor ?? null);
  const current = useRef(key);
  current.current = key;
  const loadMore = async () => {
    if (next === null || isBusy) return;
    const before = isMine ? more.items : [];
    setBusy(true);
    try {
      const page = await list().page(next);
      if (current.current === key) setMore({ key, items: [...before, ...page.items], next: page.next_cursor });
    } catch (error) {
      if (current.current === key) setMore({ key, items: before, next, error });
    } finally {
      setBusy(false);
    }
  };
  const reload = () => (setMore(undefined), first.reload());
  const error = first.error ?? (isMine ? more.error : undefined);
  return { items, error, isLoading: first.isLoading || isBusy, hasMore: next !== null, loadMore, reload };
}

/** A command under way: its operation, its progress, and why it failed. Takes a handle, or the id of one. */
export function useOperation(api: Client, handle: Pick<Handle<unknown>, "id"> | string | undefined) {
  const id = typeof handle === "object" ? handle.id : handle;
  const [seen, see] = useState<{ id: string; progress: Operation["progress"] }>();
  const outcome = useLoaded(
    async (signal) =>
      id === undefined
        ? undefined
        : api.operations.resume(id).wait({ signal, onProgress: (progress) => signal.aborted || see({ id, progress }) }),
    [api, id],
  );
  const cancel = async () => void (id !== undefined && (await api.operations.resume(id).cancel()));
  const status = id === undefined ? "none" : outcome.error ? "failed" : outcome.data ? "succeeded" : "pending";
  const progress = outcome.data?.progress ?? (seen && seen.id === id ? seen.progress : undefined);
  return { status, operation: outcome.data, progress, error: outcome.error, cancel } as const;
}

import "./document.js";
import { createElement, StrictMode } from "react";
import { createRoot } from "react-dom/client";
import { vi } from "vitest";

/** A component that calls a hook. */
export interface Mounted<T> {
  /** What the hook returned at each rendering. */
  readonly seen: readonly T[];
  /** What it returned last. */
  readonly shown: T;
  /** Waits until it returns something that is so. */
  until(isSo: (shown: T) => unknown): Promise<T>;
  /** Renders it anew, such as after a change of what it reads. */
  render(): void;
  unmount(): void;
}

export function mounted<T>(hook: () => T): Mounted<T> {
  const seen: T[] = [];
  const Component = () => (seen.push(hook()), null);
  const root = createRoot(document.createElement("div"));
  const render = () => root.render(createElement(StrictMode, null, createElement(Component)));
  const last = () => seen.at(-1) as T;
  render();
  return {
    seen,
    get shown() {
      return last();
    },
    until: async (isSo) => {
      await vi.waitUntil(() => seen.length > 0 && isSo(last()), 30_000);
      return last();
    },
    render,
    unmount: () => root.unmount(),
  };
}

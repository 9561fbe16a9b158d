import { type ReactNode, useEffect, useRef, useSyncExternalStore } from "react";

const subscribe = (listener: () => void) => {
  addEventListener("popstate", listener);
  return () => removeEventListener("popstate", listener);
};

/** The path of the page. */
export const usePath = (): string => useSyncExternalStore(subscribe, () => location.pathname);

export function go(path: string): void {
  history.pushState(null, "", path);
  dispatchEvent(new PopStateEvent("popstate"));
}

/** The token of a mailed link. */
export const mailedToken = (): string => new URLSearchParams(location.search).get("token") ?? "";

export function Link({ to, children }: { to: string; children: ReactNode }) {
  return (
    <a
      href={to}
      aria-current={usePath() === to ? "page" : undefined}
      onClick={(event) => {
        if (event.metaKey || event.ctrlKey || event.shiftKey || event.button !== 0) return;
        event.preventDefault();
        go(to);
      }}
    >
      {children}
    </a>
  );
}

/** The heading of a screen. It takes the focus, so that a screen reader says where one is, and Tab begins below it. */
export function Title({ children }: { children: string }) {
  const heading = useRef<HTMLHeadingElement>(null);
  useEffect(() => {
    document.title = `${children} · Stockroom`;
  }, [children]);
  useEffect(() => heading.current?.focus(), []);
  return (
    <h1 ref={heading} tabIndex={-1}>
      {children}
    </h1>
  );
}

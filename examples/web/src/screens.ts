import type { ComponentType } from "react";
import type { Language } from "./language";

/** A screen of the application. Each folder has some, in its `screens.tsx`. */
export interface Screen {
  /** As the page's path; `:id` stands for any one part. */
  readonly path: string;
  readonly show: ComponentType<{ id: string }>;
  readonly needs?: "user" | "admin";
  /** Its name in the navigation, if it is there. */
  readonly nav?: Record<Language, string>;
}

const folders = import.meta.glob<{ screens: readonly Screen[] }>("./*/screens.tsx", { eager: true });
export const screens: readonly Screen[] = Object.values(folders).flatMap((folder) => folder.screens);

/** The screen of a path, and the part that `:id` stands for. */
export function screenOf(path: string): { screen: Screen; id: string } | undefined {
  for (const screen of screens) {
    const found = new RegExp(`^${screen.path.replace(":id", "([^/]+)")}$`).exec(path);
    if (found) return { screen, id: found[1] ?? "" };
  }
  return undefined;
}

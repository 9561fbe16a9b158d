import { type Loaded, useUser } from "promise-backend-client/react";
import { createContext, type ReactNode, useContext } from "react";
import { api } from "./api";

type User = ReturnType<typeof useUser>;
const Current = createContext<User | undefined>(undefined);

export function CurrentUser({ children }: { children: (user: User) => ReactNode }) {
  const user = useUser(api);
  return <Current.Provider value={user}>{children(user)}</Current.Provider>;
}

/** Who is signed in, on a screen that needs a user. */
export function useMe(): { me: NonNullable<User["data"]>; reload: Loaded<unknown>["reload"] } {
  const user = useContext(Current);
  if (!user?.data) throw new Error("This screen needs a user.");
  return { me: user.data, reload: user.reload };
}

export function useIsAdmin(): boolean {
  return useContext(Current)?.data?.data.roles.includes("admin") ?? false;
}

import { defineConfig } from "vitest/config";

/** One program for all tests, one after the other: some of them stop a part of it. */
export default defineConfig({
  test: { globalSetup: "test/backend.ts", fileParallelism: false, testTimeout: 120_000, hookTimeout: 60_000 },
});

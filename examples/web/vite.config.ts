import react from "@vitejs/plugin-react";
import { defineConfig } from "vite";

/** 127.0.0.1, and not localhost: browsers send the API's cookies to the same site only. */
export default defineConfig({
  plugins: [react()],
  resolve: { dedupe: ["react"] }, // the client is linked, and has a React of its own for its tests
  server: { host: "127.0.0.1", strictPort: true },
  build: { sourcemap: true, rolldownOptions: { input: ["index.html", "first.html"] } },
});

/// <reference types="vitest/config" />
import { defineConfig } from "vite";

export default defineConfig({
  base: "/",
  build: {
    // Inside the Python package, so that the wheel carries the built dashboard.
    outDir: "../web/static",
    emptyOutDir: true,
    // The Content-Security-Policy allows scripts, styles and connections from this origin only.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    target: "es2022",
    reportCompressedSize: true,
  },
  oxc: { jsx: { runtime: "automatic", importSource: "preact" } },
  server: { host: "127.0.0.1", proxy: { "/api": "http://127.0.0.1:8480" } },
  test: { environment: "node", include: ["src/**/*.test.ts"] },
});

// Builds the bundle that the API serves. Its first line carries the hash of the sources, by which a machine
// without Node can tell whether the bundle is theirs (tests/contract/test_inbox_bundle.py).
import { createHash } from "node:crypto";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const here = dirname(fileURLToPath(import.meta.url));
const target = process.argv[2] ?? join(here, "../../services/api/src/carillon_api/pages/static/carillon-inbox.js");

/** SHA-256 over name, NUL, content, NUL of each source, by name. */
function hashOfSources() {
  const names = readdirSync(join(here, "src")).map((name) => `src/${name}`);
  const hash = createHash("sha256");
  for (const name of ["build.mjs", "package.json", ...names].sort()) {
    hash.update(`${name}\0`);
    hash.update(readFileSync(join(here, name)));
    hash.update("\0");
  }
  return hash.digest("hex");
}

const result = await build({
  entryPoints: [join(here, "src/index.ts")],
  bundle: true,
  minify: true,
  format: "esm",
  target: ["es2022"],
  charset: "utf8",
  legalComments: "none",
  write: false,
});
const banner = `/*! carillon-inbox, Apache-2.0. Sources: clients/javascript, sha256 ${hashOfSources()} */\n`;
writeFileSync(target, banner + result.outputFiles[0].text);

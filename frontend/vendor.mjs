// Copies the named third-party files and their licences from node_modules to api/web/static/vendor (git-ignored) and
// checks that they are byte for byte the ones that were reviewed. Run after `npm ci`; `make install` does both.

import { createHash } from "node:crypto";
import { mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const here = dirname(fileURLToPath(import.meta.url));
const target = join(here, "..", "api", "web", "static", "vendor");

// [file in node_modules, name in vendor/, sha256]
const files = [
  ["htmx.org/dist/htmx.min.js", "htmx.min.js", "d6fdc75f204e6bdefa99b69bf1e6d4ac69b8a364f77929f45c13476b4000f717"],
  ["htmx.org/LICENSE", "htmx.LICENSE.txt", "d3d2456f76414f2456104660ebd65aff1c04cd7966b942bdabd63f3cdb316a38"],
  [
    "@fontsource-variable/inter/files/inter-latin-wght-normal.woff2",
    "inter-latin-wght-normal.woff2",
    "3100e775e8616cd2611beecfa23a4263d7037586789b43f035236a2e6fbd4c62",
  ],
  ["@fontsource-variable/inter/LICENSE", "inter.LICENSE.txt", "3b0a5fca3d17942cde889069889dedbbbd075e9b599968c82a95f4d944e9b345"],
  [
    "swagger-ui-dist/swagger-ui-bundle.js",
    "swagger-ui-bundle.js",
    "e6a898692f2d768e807c3ba4626068a69a2c5dd960dd6c76f3e4d3a3de180af2",
  ],
  ["swagger-ui-dist/swagger-ui.css", "swagger-ui.css", "5ed08757e53da3e026d6cbecc61fe5d43585c9560b302d534ad56692519a273d"],
  ["swagger-ui-dist/LICENSE", "swagger-ui.LICENSE.txt", "cfc7749b96f63bd31c3c42b5c471bf756814053e847c10f3eb003417bc523d30"],
  ["swagger-ui-dist/NOTICE", "swagger-ui.NOTICE.txt", "0d20d1adef18aee3f40dd258172155521ce702ac445cb5f7b7d60ed32dad2fb2"],
  [
    "swagger-ui-dist/swagger-ui-bundle.js.LICENSE.txt",
    "swagger-ui-bundle.LICENSE.txt",
    "37eb6e7e59aed57b2c1acf076574b818ea07b74265717e0bd67b59e0baf9abbb",
  ],
];

function fail(message) {
  console.error(`vendor: ${message}`);
  process.exit(1);
}

const checked = files.map(([source, name, wanted]) => {
  let bytes;
  try {
    bytes = readFileSync(join(here, "node_modules", source));
  } catch {
    return fail(`${source} is missing: run 'npm ci' in frontend/ first`);
  }
  const found = createHash("sha256").update(bytes).digest("hex");
  if (found !== wanted) {
    return fail(`${source} has SHA-256 ${found}, expected ${wanted}: review the new file, then change the hash here`);
  }
  return [name, bytes];
});

// Nothing is written before everything is checked; each file appears whole.
mkdirSync(target, { recursive: true });
for (const [name, bytes] of checked) {
  const unfinished = join(target, `${name}.${process.pid}.tmp`);
  try {
    writeFileSync(unfinished, bytes);
    renameSync(unfinished, join(target, name));
  } finally {
    rmSync(unfinished, { force: true });
  }
}
console.log(`vendor: ${checked.length} files in api/web/static/vendor`);

// Computes every answer of docs/hash-vectors.json from docs/hash-spec.md alone: standard input → standard output, both JSON.
const crypto = require("node:crypto");
const fs = require("node:fs");

const SPACE = 2n ** 52n;
const sha256 = (text) => crypto.createHash("sha256").update(text, "utf8").digest("hex");
const ceilDiv = (a, b) => (a + b - 1n) / b;

function uppers(weights) {
  const parts = weights.map(BigInt);
  const total = parts.reduce((a, b) => a + b);
  let sum = 0n;
  return parts.map((w) => Number(ceilDiv((sum += w) * SPACE, total)));
}

function shareBound(text) {
  const [over, under = "1"] = text.split("/");
  const [whole, decimals = ""] = over.split(".");
  return Number(ceilDiv(BigInt(whole + decimals) * SPACE, BigInt(under) * 10n ** BigInt(decimals.length)));
}

const variant = (digits, weights) => uppers(weights).findIndex((upper) => parseInt(digits, 16) < upper);
const enrolled = (digits, traffic) => parseInt(digits, 16) < shareBound(traffic);

const given = JSON.parse(fs.readFileSync(0, "utf8"));
const answers = {
  vectors: given.vectors.map(({ salt, unit, weights, traffic }) => {
    const h = sha256(salt + ":" + unit);
    const [first, second] = [h.slice(0, 13), h.slice(13, 26)];
    return {
      sha256: h, variant_digits: first, traffic_digits: second, u: parseInt(first, 16) / 2 ** 52,
      upper_bounds: uppers(weights), variant: variant(first, weights),
      traffic_bound: shareBound(traffic), enrolled: enrolled(second, traffic),
    };
  }),
  boundaries: given.boundaries.map(({ digits, weights }) => ({ variant: variant(digits, weights) })),
  gate_boundaries: given.gate_boundaries.map(({ digits, traffic }) => ({
    traffic_bound: shareBound(traffic), enrolled: enrolled(digits, traffic),
  })),
  decision_ids: given.decision_ids.map(({ array }) => ({ decision_id: sha256(JSON.stringify(array)).slice(0, 32) })),
};
process.stdout.write(JSON.stringify(answers));

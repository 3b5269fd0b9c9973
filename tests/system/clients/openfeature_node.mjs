// Asks through the Node SDK as an application would, and says on standard output what it got and what was reported.
// What to ask comes as JSON in ASK: base_url, flag, units, context, and report, the address events are sent to.
import { Analytics } from "@segment/analytics-node";
import { OFREPProvider } from "@openfeature/ofrep-provider";
import { OpenFeature } from "@openfeature/server-sdk";
import { ExposureHook, withTracking } from "../../../contrib/node/equipoise-openfeature.js";

const ask = JSON.parse(process.env.ASK);
const reported = [];
const analytics = ask.report && new Analytics({ writeKey: ask.key ?? "any", host: ask.report });
const report = (message) => {
  reported.push(message);
  analytics?.track(message);
};
const timeout = ask.timeout_s ?? 5;
const Provider = withTracking(OFREPProvider, report);
await OpenFeature.setProviderAndWait(
  new Provider({
    baseUrl: ask.base_url,
    headers: ask.key ? [["Authorization", `Bearer ${ask.key}`]] : [],
    // The provider waits for ever by itself.
    fetchImplementation: (request) => fetch(request, { signal: AbortSignal.timeout(timeout * 1000) }),
  }),
);
OpenFeature.addHooks(new ExposureHook(report));
const client = OpenFeature.getClient();
const answers = [];
for (const unit of ask.units) {
  const context = { targetingKey: unit, ...ask.context };
  let got;
  for (let n = 0; n < (ask.times ?? 1); n++) got = await client.getObjectDetails(ask.flag, { code: "default" }, context);
  const { value, variant = null, reason, errorCode = null, flagMetadata } = got;
  answers.push({ unit, value, variant, reason, error: errorCode, metadata: flagMetadata });
  if (ask.convert) client.track("Order Completed", context, { value: 19.9, order_id: `${unit}-1`, currency: "CNY" });
}
await analytics?.closeAndFlush();
console.log(JSON.stringify({ answers, reported }));
process.exit(0);

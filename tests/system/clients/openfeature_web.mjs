// Asks through the web SDK: in a page, bundled, with the browser's own fetch and EventSource; in Node, with eventsource.
// Says what it got in `globalThis.seen`, which grows with every change the provider tells of.
import { OFREPWebProvider } from "@openfeature/ofrep-web-provider";
import { OpenFeature, ProviderEvents } from "@openfeature/web-sdk";
import { ExposureHook, withTracking } from "../../../contrib/node/equipoise-openfeature.js";

export async function run(ask) {
  const seen = (globalThis.seen = { answers: [], reported: [], changes: 0, error: null });
  const report = (message) => seen.reported.push(message);
  const Provider = withTracking(OFREPWebProvider, report);
  const timeout = ask.timeout_s ?? 5;
  const provider = new Provider({
    baseUrl: ask.base_url,
    cacheMode: "disabled",
    headers: ask.key ? [["Authorization", `Bearer ${ask.key}`]] : [],
    fetchImplementation: (request) => fetch(request, { signal: AbortSignal.timeout(timeout * 1000) }),
  });
  OpenFeature.addHooks(new ExposureHook(report));
  const client = OpenFeature.getClient();
  const look = () => {
    const got = client.getObjectDetails(ask.flag, { code: "default" });
    const { value, variant = null, reason, errorCode = null, flagMetadata } = got;
    seen.answers.push({ value, variant, reason, error: errorCode, metadata: flagMetadata });
  };
  client.addHandler(ProviderEvents.ConfigurationChanged, () => {
    seen.changes += 1;
    look();
  });
  try {
    await OpenFeature.setContext({ targetingKey: ask.units[0], ...ask.context });
    await OpenFeature.setProviderAndWait(provider);
  } catch (error) {
    seen.error = String(error);
  }
  look();
  if (ask.then) {
    await OpenFeature.setContext({ targetingKey: ask.units[0], ...ask.then });
    look();
  }
  return seen;
}

globalThis.run = run;
if (globalThis.process?.env?.ASK) {
  const { EventSource } = await import("eventsource");
  globalThis.EventSource ??= EventSource;
  console.log(JSON.stringify(await run(JSON.parse(process.env.ASK))));
  process.exit(0);
}

/**
 * Report what OpenFeature showed, and what came of it, to Equipoise through a Segment client.
 *
 * `report` takes one message in the shape of @segment/analytics-node and @rudderstack/rudder-sdk-node,
 * `{ userId, event, properties }`:
 *
 *     const report = (message) => analytics.track(message);
 *     await OpenFeature.setProviderAndWait(new (withTracking(OFREPProvider, report))({ baseUrl }));
 *     OpenFeature.addHooks(new ExposureHook(report));
 *
 * It works with the server SDK and the web SDK alike.
 */

const EXPOSURE = "Experiment Viewed";
/** Decisions whose exposure was reported: each is reported once by a process or page. */
const REMEMBERED = 10_000;

/** Reports that a member met its variant: only one that is enrolled, never a code default or a fallback. */
export class ExposureHook {
  #report;
  #reported = new Set();

  constructor(report) {
    this.#report = report;
  }

  after(hookContext, details) {
    const userId = hookContext.context?.targetingKey;
    const { enrolled, decisionId, experiment, flagSetId } = details.flagMetadata ?? {};
    if (!userId || enrolled !== true || typeof decisionId !== "string" || this.#reported.has(decisionId)) return;
    this.#reported.add(decisionId);
    if (this.#reported.size > REMEMBERED) this.#reported.delete(this.#reported.values().next().value);
    const properties = { decision_id: decisionId, experiment: experiment ?? details.flagKey, variant: details.variant };
    send(this.#report, { userId, event: EXPOSURE, properties: { ...properties, ...unitType(flagSetId) } });
  }
}

/** Return a provider class whose `client.track` reports outcomes; OFREP itself has no way to. */
export function withTracking(Provider, report) {
  return class extends Provider {
    /** `value` is an amount of money in major units. */
    track(event, context, details = {}) {
      const userId = context?.targetingKey;
      if (!userId) return;
      send(report, { userId, event, properties: { ...details, ...unitType(context.unitType) } });
    }
  };
}

function unitType(value) {
  return typeof value === "string" && value !== "member" ? { unit_type: value } : {};
}

/** Whatever goes wrong here, the application goes on. */
function send(report, message) {
  try {
    Promise.resolve(report(message)).catch(() => {});
  } catch {
    // Not reported.
  }
}

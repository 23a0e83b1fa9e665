// The live stream, and the watch over it: the page itself must notice that data stopped coming,
// also when the server is gone and can no longer say so.

import { facts } from "./facts.js";
import { every, serverNow, serverSays } from "./clock.js";

const STALE_MS = 15000;

export function listen({ sections, values, health, hear }) {
  const { newest, engine, stopped } = facts;
  const state = { beat: performance.now(), newest, engine, stopped };
  let source = null;
  let revision = facts.revision;

  function connect() {
    source = new EventSource(`/events?since=${revision}`);
    const on = (name, act) =>
      source.addEventListener(name, (event) => {
        if (event.lastEventId) revision = Number(event.lastEventId);
        act(JSON.parse(event.data));
      });
    on("sections", sections);
    on("values", values);
    on("heartbeat", (said) => {
      serverSays(said.now);
      const { newest, engine, stopped } = said;
      Object.assign(state, { beat: performance.now(), newest, engine, stopped });
      hear(said.heard);
      watch();
    });
    source.onerror = () => {
      // A browser gives up for good when a restarting server answers with an error.
      if (source.readyState === EventSource.CLOSED) setTimeout(connect, 1000);
    };
  }

  function watch() {
    const silent = performance.now() - state.beat > STALE_MS;
    const old = state.newest === null || serverNow() - state.newest > STALE_MS;
    const lastBeat = serverNow() - (performance.now() - state.beat);
    const since = old ? state.newest : lastBeat;
    const { stopped, newest } = state;
    health({ stale: silent || old, since, engine: state.engine && !silent, stopped, newest });
  }

  connect();
  every(1000, watch);
}

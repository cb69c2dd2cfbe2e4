// What is known of the workshop: servers, and the requests on them as bars in time.

const LIVE = new Set(["waiting", "running"]);
/** Ended requests that are remembered, and for how long. */
const MOST = 10_000, LONGEST = 16 * 60_000;

/** One server's bars. */
class Lane {
  bars = new Map();
  #sorted = null;
  #queue = null;

  changed() { this.#sorted = this.#queue = null; }

  /** By start. */
  get sorted() {
    return (this.#sorted ??= [...this.bars.values()].sort((a, b) => a.start - b.start || a.accepted - b.accepted));
  }

  /** What waits, first come first served: in the order in which it was decided. */
  get queue() {
    return (this.#queue ??= this.sorted.filter(bar => bar.state === "waiting").sort((a, b) => a.decided - b.decided));
  }

  /**
   * Says where live bars stand now: first come, first served, without gaps. A run that takes longer than predicted
   * moves what waits behind it, and one that ended early lets it come forward. Where not all of a queue is seen, nothing begins
   * before it was predicted to.
   */
  settle(now, all) {
    let free = now;
    for (const bar of this.sorted) {
      if (!LIVE.has(bar.state)) {
        [bar.from, bar.to] = [bar.start, bar.finish];
      } else if (bar.state === "running") {
        [bar.from, bar.to] = [bar.start, Math.max(bar.finish, now)];
        free = Math.max(free, bar.to);
      }
    }
    for (const bar of this.queue) {
      bar.from = all ? free : Math.max(free, bar.start);
      bar.to = free = bar.from + Math.max(bar.finish - bar.start, 0);
    }
  }
}

const time = text => (text === undefined ? NaN : Date.parse(text));

/** A bar of what the gateway tells in brief. */
function toBar(brief, before) {
  const bar = before ?? { id: brief.id };
  Object.assign(bar, {
    own: brief.own, owner: brief.owner, state: brief.state, server: brief.server, steps: brief.steps, model: brief.model,
    penalty: brief.penalty, accepted: time(brief.accepted_at), decided: time(brief.decided_at), due: time(brief.due), start: time(brief.start),
    finish: time(brief.finish), load: brief.load_seconds ?? 0, progress: brief.progress, quality: brief.quality,
    reward: brief.reward, tardiness: brief.tardiness_seconds, attempts: brief.attempts, reason: brief.reason,
  });
  return bar;
}

export class Workshop {
  servers = [];
  requests = new Map();
  site = null;
  /** Rises with every change. */
  version = 0;
  #lanes = new Map();
  #skew = 0;
  #told = 0;

  /** The gateway's time, in milliseconds since 1970. */
  now() { return Date.now() + this.#skew; }

  /** Another connection tells anew all that is live. */
  reconnected() {
    for (const bar of this.requests.values()) if (LIVE.has(bar.state)) this.#remove(bar);
    this.version++;
  }

  /** Nothing is known any more. */
  forget() {
    this.site = null;
    this.servers = [];
    this.requests.clear();
    this.#lanes.clear();
    this.version++;
  }

  setSite(site) {
    this.site = site;
    this.#skew = Date.parse(site.now) - Date.now();
    this.version++;
  }

  setServers(servers) {
    this.servers = servers;
    this.#told = this.now();
    this.version++;
  }

  /** Takes in changed requests, and says which bars they are. */
  setRequests(briefs) {
    const bars = briefs.map(brief => {
      const before = this.requests.get(brief.id);
      if (before && before.server !== brief.server) this.#lanes.get(before.server)?.bars.delete(before.id);
      this.#lanes.get(before?.server)?.changed();
      const bar = toBar(brief, before);
      this.requests.set(bar.id, bar);
      if (bar.server !== undefined && Number.isFinite(bar.start)) {
        const lane = this.#lane(bar.server);
        lane.bars.set(bar.id, bar);
        lane.changed();
      }
      return bar;
    });
    this.#forget();
    this.version++;
    return bars;
  }

  /** The bars of a server by start, with `from` and `to` as they stand now. */
  barsOf(server, now) {
    const lane = this.#lanes.get(server);
    if (!lane) return [];
    lane.settle(now, this.site?.operator !== false);
    return lane.sorted;
  }

  phase(bar) { return bar.state; }

  /** Until when a server is busy with what somebody who is no operator does not see. */
  busyUntil(server, now) {
    if (this.site?.operator !== false || server.backlog_seconds <= 0) return now;
    return Math.max(now, this.#told + 1000 * server.backlog_seconds);
  }

  #lane(name) {
    if (!this.#lanes.has(name)) this.#lanes.set(name, new Lane());
    return this.#lanes.get(name);
  }

  #remove(bar) {
    this.requests.delete(bar.id);
    const lane = this.#lanes.get(bar.server);
    if (lane?.bars.delete(bar.id)) lane.changed();
  }

  /** Of what has ended, the oldest go: the map is in the order in which requests were first told, which is nearly theirs. */
  #forget() {
    const old = this.now() - LONGEST;
    for (const bar of this.requests.values()) {
      if (this.requests.size <= MOST && !(bar.finish < old)) break;
      if (LIVE.has(bar.state)) {
        if (this.requests.size <= MOST) break;
        continue;
      }
      this.#remove(bar);
    }
  }
}

export const isLive = bar => LIVE.has(bar.state);

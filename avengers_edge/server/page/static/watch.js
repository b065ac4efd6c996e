/** Looks how the server is, often while it is not well, and not at all while it is. */

/** @typedef {Awaited<ReturnType<import("./server.js").Server["health"]>>} Health */

/** @type {Record<Health["status"], number>} milliseconds until the next look; 0 is never */
const PAUSE = { ok: 0, loading: 1000, gone: 2000, degraded: 30_000 };

export class Watch {
  /**
   * @param {import("./server.js").Server} server
   * @param {(health: Health, before: Health["status"] | null) => void} tell hears of each change
   */
  constructor(server, tell) {
    this.server = server;
    this.tell = tell;
    /** @type {Health["status"] | null} */
    this.status = null;
    this.timer = 0;
  }

  /** Look now, and again until the server is well. */
  async look() {
    clearTimeout(this.timer);
    const health = await this.server.health();
    clearTimeout(this.timer); // somebody else looked as well
    if (health.status !== this.status) {
      const before = this.status;
      this.status = health.status;
      this.tell(health, before);
    }
    if (PAUSE[health.status]) this.timer = setTimeout(() => this.look(), PAUSE[health.status]);
  }
}
